#!/bin/sh
# Says yes to the step that a rollout is in.
# Usage: rollouts-approve.sh ROLLOUT_ID [REASON]
# Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.RolloutsService/ApproveRollout <<EOF
{"id": $(quote "$1"), "reason": $(quote "${2:-}")}
EOF
