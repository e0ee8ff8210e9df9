#!/bin/sh
# No further node is touched until the rollout is resumed.
# Usage: rollouts-pause.sh ROLLOUT_ID [REASON]
# Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.RolloutsService/PauseRollout <<EOF
{"id": $(quote "$1"), "reason": $(quote "${2:-}")}
EOF
