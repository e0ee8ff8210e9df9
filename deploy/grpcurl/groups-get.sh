#!/bin/sh
# One group: its selector, how many nodes are in it now, and what names it.
# Usage: groups-get.sh GROUP
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.GroupsService/GetGroup <<EOF
{"name": $(quote "$1")}
EOF
