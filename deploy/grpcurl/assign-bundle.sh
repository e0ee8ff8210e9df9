#!/bin/sh
# Gives a bundle to all nodes that a selector matches, now and later.
# Usage: assign-bundle.sh ASSIGNMENT SELECTOR BUNDLE [VERSION [PRIORITY]]
# Version 0 is the newest of now. Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 3 ] || usage
call muster.admin.v1.AssignmentsService/CreateAssignment <<EOF
{
  "assignment": {
    "name": $(quote "$1"),
    "selector": $(quote "$2"),
    "bundle": {"name": $(quote "$3"), "version": ${4:-0}},
    "priority": ${5:-0}
  }
}
EOF
