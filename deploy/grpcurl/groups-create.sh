#!/bin/sh
# Gives a selector a name, to be used in other selectors: @NAME, or !@NAME for all others.
# Usage: groups-create.sh GROUP SELECTOR [DESCRIPTION]
# Role: deployer, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
call muster.admin.v1.GroupsService/CreateGroup <<EOF
{"group": {"name": $(quote "$1"), "selector": $(quote "$2"), "description": $(quote "${3:-}")}}
EOF
