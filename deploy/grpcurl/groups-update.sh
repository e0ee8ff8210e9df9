#!/bin/sh
# Changes what a group is: all that names it follows at once.
# Usage: groups-update.sh GROUP SELECTOR [DESCRIPTION [preview]]
# With the word "preview" nothing is changed: the answer tells which nodes come in and go
# out, and what becomes of what they have. Role: deployer, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
validate_only=false
[ "${4:-}" = preview ] && validate_only=true
call muster.admin.v1.GroupsService/UpdateGroup <<EOF
{
  "group": {"name": $(quote "$1"), "selector": $(quote "$2"), "description": $(quote "${3:-}")},
  "validate_only": $validate_only
}
EOF
