#!/bin/sh
# All about one node: facts, connection, items, conditions.
# Usage: nodes-get.sh NODE_ID
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.NodesService/GetNode <<EOF
{"id": $(quote "$1")}
EOF
