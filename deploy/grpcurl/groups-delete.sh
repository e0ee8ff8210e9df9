#!/bin/sh
# Deletes a group; refused while an assignment or an open rollout names it.
# Usage: groups-delete.sh GROUP
# Role: deployer, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.GroupsService/DeleteGroup <<EOF
{"name": $(quote "$1")}
EOF
