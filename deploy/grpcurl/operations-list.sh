#!/bin/sh
# Operations, the newest first.
# Usage: operations-list.sh [PAGE_SIZE [PAGE_TOKEN]]
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.OperationsService/ListOperations <<EOF
{"page_size": ${1:-100}, "page_token": $(quote "${2:-}")}
EOF
