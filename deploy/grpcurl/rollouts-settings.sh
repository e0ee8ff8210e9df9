#!/bin/sh
# Brings a version of a settings profile to the nodes of an assignment, in steps.
# Usage: rollouts-settings.sh ASSIGNMENT PROFILE [VERSION [careful|normal|emergency [preview]]]
# Version 0 is the newest of now; a preview changes nothing. Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
speed=$(printf '%s' "${4:-normal}" | tr '[:lower:]' '[:upper:]')
if [ "${5:-}" = preview ]; then preview=true; else preview=false; fi
call muster.admin.v1.RolloutsService/CreateRollout <<EOF
{
  "assignment": $(quote "$1"),
  "settings": {"profile": $(quote "$2"), "version": ${3:-0}},
  "speed": $(quote "ROLLOUT_SPEED_$speed"),
  "validate_only": $preview
}
EOF
