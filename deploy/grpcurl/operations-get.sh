#!/bin/sh
# One operation: how many of its commands are in which state.
# Usage: operations-get.sh OPERATION_ID
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.OperationsService/GetOperation <<EOF
{"id": $(quote "$1")}
EOF
