#!/bin/sh
# A rollout as it goes, until it is over.
# Usage: rollouts-watch.sh ROLLOUT_ID
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.RolloutsService/WatchRollout <<EOF
{"id": $(quote "$1")}
EOF
