#!/bin/sh
# Gives a role to principals, on the nodes that a selector matches.
# Usage: bindings-create.sh NAME PRINCIPAL ROLE SELECTOR
# Role: security-admin, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 4 ] || usage
call muster.admin.v1.AccessService/CreateBinding <<EOF
{"binding": {"name": $(quote "$1"), "principal": $(quote "$2"), "role": $(quote "$3"), "selector": $(quote "$4")}}
EOF
