#!/bin/sh
# Repeats an operation for the nodes where it failed, took too long or was never delivered.
# Usage: operations-retry.sh OPERATION_ID [REQUEST_ID [STATE...]]
# STATE: FAILED, TIMED_OUT, EXPIRED, CANCELLED, DENIED or INTERRUPTED, which may have run;
# with any, only those. What was retried before is left out. Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
id=$1 request_id=${2:-}
if [ $# -gt 2 ]; then shift 2; else set --; fi
states=
for state; do states="$states${states:+, }$(quote "COMMAND_STATE_$state")"; done
call muster.admin.v1.OperationsService/RetryOperation <<EOF
{"id": $(quote "$id"), "request_id": $(quote "$request_id"), "states": [$states]}
EOF
