#!/bin/sh
# Replaces all labels of a node.
# Usage: nodes-label.sh NODE_ID KEY=VALUE...
# Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
id=$1
shift
labels=
for label in "$@"; do
    labels="$labels${labels:+, }$(quote "${label%%=*}"): $(quote "${label#*=}")"
done
call muster.admin.v1.NodesService/UpdateNode <<EOF
{"node": {"id": $(quote "$id"), "labels": {$labels}}}
EOF
