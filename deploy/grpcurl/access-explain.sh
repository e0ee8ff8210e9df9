#!/bin/sh
# Whether a principal may call a method, on a node if one is named, and why.
# Usage: access-explain.sh PRINCIPAL METHOD [NODE_ID]
# Role: security-admin, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
call muster.admin.v1.AccessService/ExplainAccess <<EOF
{"principal": $(quote "$1"), "method": $(quote "$2"), "node_id": $(quote "${3:-}")}
EOF
