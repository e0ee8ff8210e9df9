#!/bin/sh
# Gives a release of the agent to all nodes that a selector matches, now and later.
# Usage: assign-release.sh ASSIGNMENT SELECTOR VERSION|@CHANNEL [PRIORITY [held]]
# A channel stands for what it recommends now: it moves no node later. Held: it gives
# nothing but by a rollout. Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 3 ] || usage
if [ "${5:-}" = held ]; then held=true; else held=false; fi
case $3 in
@*) release="{\"channel\": $(quote "${3#@}")}" ;;
*) release="{\"version\": $(quote "$3")}" ;;
esac
call muster.admin.v1.AssignmentsService/CreateAssignment <<EOF
{
  "assignment": {
    "name": $(quote "$1"),
    "selector": $(quote "$2"),
    "release": $release,
    "priority": ${4:-0},
    "held": $held
  }
}
EOF
