#!/bin/sh
# Gives hosts new keys and certificates; succeeded when these are in use.
# Usage: rotate-identity.sh SELECTOR
# Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.OperationsService/StartOperation <<EOF
{"selector": $(quote "$1"), "spec": {"rotate_identity": {}}}
EOF
