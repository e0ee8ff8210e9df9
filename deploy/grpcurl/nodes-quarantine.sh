#!/bin/sh
# Locks a node up: it stays connected, is told why, and gets nothing.
# Usage: nodes-quarantine.sh NODE_ID [REASON]
# Role: security-admin.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.NodesService/QuarantineNode <<EOF
{"id": $(quote "$1"), "reason": $(quote "${2:-}")}
EOF
