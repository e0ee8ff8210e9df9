#!/bin/sh
# Has the agents of nodes start anew.
# Usage: restart-agent.sh SELECTOR
# Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.OperationsService/StartOperation <<EOF
{"selector": $(quote "$1"), "spec": {"restart_agent": {}}}
EOF
