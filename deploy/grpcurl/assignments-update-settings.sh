#!/bin/sh
# Moves an assignment to another version of its settings profile, or to other nodes: all at once.
# Usage: assignments-update-settings.sh ASSIGNMENT SELECTOR PROFILE [VERSION [PRIORITY]]
# Version 0 is the newest of now. Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 3 ] || usage
call muster.admin.v1.AssignmentsService/UpdateAssignment <<EOF
{
  "assignment": {
    "name": $(quote "$1"),
    "selector": $(quote "$2"),
    "settings": {"profile": $(quote "$3"), "version": ${4:-0}},
    "priority": ${5:-0}
  }
}
EOF
