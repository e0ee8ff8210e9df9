#!/bin/sh
# Says yes to the step that a rollout is in; to another one, if it is named (from 1).
# Usage: rollouts-approve.sh ROLLOUT_ID [REASON [STEP]]
# With the step a repeat is safe: without, it may say yes to the next one. Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.RolloutsService/ApproveRollout <<EOF
{"id": $(quote "$1"), "reason": $(quote "${2:-}"), "step": ${3:-0}}
EOF
