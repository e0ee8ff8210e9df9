#!/bin/sh
# Lets a rollout go on.
# Usage: rollouts-resume.sh ROLLOUT_ID [REASON]
# Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.RolloutsService/ResumeRollout <<EOF
{"id": $(quote "$1"), "reason": $(quote "${2:-}")}
EOF
