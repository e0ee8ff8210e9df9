#!/bin/sh
# Takes a role away again.
# Usage: bindings-delete.sh NAME
# Role: security-admin, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.AccessService/DeleteBinding <<EOF
{"name": $(quote "$1")}
EOF
