#!/bin/sh
# What a rollout would do: to whom, by which steps, with what changes, and what it would wait for.
# Usage: rollouts-preview.sh ASSIGNMENT BUNDLE [VERSION [careful|normal|emergency]]
# Nothing is changed. Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
speed=$(printf '%s' "${4:-normal}" | tr '[:lower:]' '[:upper:]')
call muster.admin.v1.RolloutsService/CreateRollout <<EOF
{
  "assignment": $(quote "$1"),
  "bundle": {"name": $(quote "$2"), "version": ${3:-0}},
  "speed": $(quote "ROLLOUT_SPEED_$speed"),
  "validate_only": true
}
EOF
