#!/bin/sh
# Moves an assignment to another version of its bundle, or to other nodes.
# Usage: assignments-update.sh ASSIGNMENT SELECTOR BUNDLE [VERSION [PRIORITY [EXCLUSION...]]]
# Exclusions are replaced, too: those that are not named are gone.
# Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 3 ] || usage
name=$1 selector=$2 bundle=$3 version=${4:-0} priority=${5:-0}
if [ $# -gt 5 ]; then shift 5; else set --; fi
call muster.admin.v1.AssignmentsService/UpdateAssignment <<EOF
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
