#!/bin/sh
# The commands of an operation with state and output, node by node.
# Usage: operations-commands.sh OPERATION_ID
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.OperationsService/ListCommands <<EOF
{"operation_id": $(quote "$1"), "page_size": 100, "with_output": true}
EOF
