#!/bin/sh
# Has nodes read their facts again.
# Usage: refresh-facts.sh SELECTOR
# Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.OperationsService/StartOperation <<EOF
{"selector": $(quote "$1"), "spec": {"refresh_facts": {}}}
EOF
