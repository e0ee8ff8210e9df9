#!/bin/sh
# Moves an assignment to another version of its bundle, or to other nodes.
# Usage: assignments-update.sh ASSIGNMENT SELECTOR BUNDLE [VERSION [PRIORITY]]
# Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 3 ] || usage
call muster.admin.v1.AssignmentsService/UpdateAssignment <<EOF
{
  "assignment": {
    "name": $(quote "$1"),
    "selector": $(quote "$2"),
    "bundle": {"name": $(quote "$3"), "version": ${4:-0}},
    "priority": ${5:-0}
  }
}
EOF
