#!/bin/sh
# Why a node has an item, has it not, or will have it.
# Usage: nodes-explain.sh NODE_ID ITEM
# ITEM is settings or bundle/NAME. Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
call muster.admin.v1.NodesService/ExplainItem <<EOF
{"id": $(quote "$1"), "item": $(quote "$2")}
EOF
