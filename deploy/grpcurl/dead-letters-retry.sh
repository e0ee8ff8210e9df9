#!/bin/sh
# Has a receiver told after all of what it could not be told.
# Usage: dead-letters-retry.sh DEAD_LETTER_ID
# Role: operator on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.AlertsService/RetryDeadLetter <<EOF
{"id": $(quote "$1")}
EOF
