#!/bin/sh
# Gives a settings profile to all nodes that a selector matches.
# Usage: assign-settings.sh ASSIGNMENT SELECTOR PROFILE [PRIORITY]
# Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 3 ] || usage
call muster.admin.v1.AssignmentsService/CreateAssignment <<EOF
{
  "assignment": {
    "name": $(quote "$1"),
    "selector": $(quote "$2"),
    "settings": {"profile": $(quote "$3")},
    "priority": ${4:-0}
  }
}
EOF
