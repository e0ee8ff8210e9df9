#!/bin/sh
# Makes an assignment that gives nothing yet: a rollout brings its bundle to the nodes.
# Usage: assign-held.sh ASSIGNMENT SELECTOR BUNDLE [PRIORITY]
# Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 3 ] || usage
call muster.admin.v1.AssignmentsService/CreateAssignment <<EOF
{
  "assignment": {
    "name": $(quote "$1"),
    "selector": $(quote "$2"),
    "bundle": {"name": $(quote "$3")},
    "priority": ${4:-0},
    "held": true
  }
}
EOF
