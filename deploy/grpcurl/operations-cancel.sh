#!/bin/sh
# Cancels what has not ended of an operation.
# Usage: operations-cancel.sh OPERATION_ID [REASON]
# Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.OperationsService/CancelOperation <<EOF
{"id": $(quote "$1"), "reason": $(quote "${2:-}")}
EOF
