#!/bin/sh
# Gives a node another name; its id, identity and session stay.
# Usage: nodes-rename.sh NODE_ID NAME
# Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -eq 2 ] || usage
call muster.admin.v1.NodesService/UpdateNode <<EOF
{"node": {"id": $(quote "$1"), "display_name": $(quote "$2")}}
EOF
