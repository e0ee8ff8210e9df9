#!/bin/sh
# All nodes that a rollout touched return to what they had.
# Usage: rollouts-roll-back.sh ROLLOUT_ID [REASON]
# Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.RolloutsService/RollBackRollout <<EOF
{"id": $(quote "$1"), "reason": $(quote "${2:-}")}
EOF
