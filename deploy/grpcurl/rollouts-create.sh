#!/bin/sh
# Brings a version of a bundle to the nodes of an assignment, in steps.
# Usage: rollouts-create.sh ASSIGNMENT BUNDLE [VERSION [careful|normal|emergency]]
# Version 0 is the newest of now; normal is the speed without another word. Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
speed=$(printf '%s' "${4:-normal}" | tr '[:lower:]' '[:upper:]')
call muster.admin.v1.RolloutsService/CreateRollout <<EOF
{
  "assignment": $(quote "$1"),
  "bundle": {"name": $(quote "$2"), "version": ${3:-0}},
  "speed": $(quote "ROLLOUT_SPEED_$speed")
}
EOF
