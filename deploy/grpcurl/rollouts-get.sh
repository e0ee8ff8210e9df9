#!/bin/sh
# One rollout: its phase, how its nodes stand, why some failed, and what it waits for.
# Usage: rollouts-get.sh ROLLOUT_ID
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.RolloutsService/GetRollout <<EOF
{"id": $(quote "$1")}
EOF
