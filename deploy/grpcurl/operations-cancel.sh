#!/bin/sh
# Cancels what has not ended of an operation.
# Usage: operations-cancel.sh OPERATION_ID [REASON [force]]
# With the word "force" hosts kill at once, and nobody waits for those that are not heard.
# Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
force=false
[ "${3:-}" = force ] && force=true
call muster.admin.v1.OperationsService/CancelOperation <<EOF
{"id": $(quote "$1"), "reason": $(quote "${2:-}"), "force": $force}
EOF
