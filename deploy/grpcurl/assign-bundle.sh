#!/bin/sh
# Gives a bundle to all nodes that a selector matches, now and later.
# Usage: assign-bundle.sh ASSIGNMENT SELECTOR BUNDLE [VERSION [PRIORITY [EXCLUSION...]]]
# Version 0 is the newest of now. Nodes that an exclusion matches, also a selector, are left out.
# Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 3 ] || usage
name=$1 selector=$2 bundle=$3 version=${4:-0} priority=${5:-0}
if [ $# -gt 5 ]; then shift 5; else set --; fi
call muster.admin.v1.AssignmentsService/CreateAssignment <<EOF
{
  "assignment": {
    "name": $(quote "$name"),
    "selector": $(quote "$selector"),
    "exclusions": [$(quotes "$@")],
    "bundle": {"name": $(quote "$bundle"), "version": $version},
    "priority": $priority
  }
}
EOF
