#!/bin/sh
# Ends a rollout as it is: who has the change keeps it, nobody else gets it.
# Usage: rollouts-abort.sh ROLLOUT_ID [REASON]
# Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.RolloutsService/AbortRollout <<EOF
{"id": $(quote "$1"), "reason": $(quote "${2:-}")}
EOF
