#!/bin/sh
# Gives a version of an extension to all nodes that a selector matches, now and later.
# Usage: assign-extension.sh ASSIGNMENT SELECTOR EXTENSION [VERSION [PRIORITY [held]]]
# Version 0 is the newest of now. Held: it gives nothing but by a rollout. Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 3 ] || usage
if [ "${6:-}" = held ]; then held=true; else held=false; fi
call muster.admin.v1.AssignmentsService/CreateAssignment <<EOF
{
  "assignment": {
    "name": $(quote "$1"),
    "selector": $(quote "$2"),
    "extension": {"name": $(quote "$3"), "version": ${4:-0}},
    "priority": ${5:-0},
    "held": $held
  }
}
EOF
