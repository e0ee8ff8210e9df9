#!/bin/sh
# Removes a node for ever: its session ends, its certificate is refused.
# Usage: nodes-delete.sh NODE_ID [REASON]
# Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.NodesService/DeleteNode <<EOF
{"id": $(quote "$1"), "reason": $(quote "${2:-}")}
EOF
