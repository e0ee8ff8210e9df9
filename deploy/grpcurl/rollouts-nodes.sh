#!/bin/sh
# The nodes of a rollout in the order in which they come, and where each stands.
# Usage: rollouts-nodes.sh ROLLOUT_ID
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.RolloutsService/ListRolloutNodes <<EOF
{"id": $(quote "$1"), "page_size": 1000}
EOF
