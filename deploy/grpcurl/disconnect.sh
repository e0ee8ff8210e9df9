#!/bin/sh
# Has hosts leave the fleet: their nodes are removed, for ever.
# Usage: disconnect.sh SELECTOR
# Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.OperationsService/StartOperation <<EOF
{"selector": $(quote "$1"), "spec": {"disconnect": {}}}
EOF
