#!/bin/sh
# Rollouts, the newest first; of one assignment, if it is named.
# Usage: rollouts-list.sh [ASSIGNMENT]
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.RolloutsService/ListRollouts <<EOF
{"assignment": $(quote "${1:-}")}
EOF
