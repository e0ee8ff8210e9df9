#!/bin/sh
# The brake of all rollouts: pull it, let go of it, or see who pulled it.
# Usage: rollouts-brake.sh [pull|release [REASON]]
# Role: deployer on all nodes; to see it: viewer.
. "$(dirname "$0")/lib.sh"
case "${1:-show}" in
show) call muster.admin.v1.RolloutsService/GetRolloutBrake </dev/null ;;
pull | release)
    pulled=false
    [ "$1" = pull ] && pulled=true
    call muster.admin.v1.RolloutsService/SetRolloutBrake <<EOF
{"pulled": $pulled, "reason": $(quote "${2:-}")}
EOF
    ;;
*) usage ;;
esac
