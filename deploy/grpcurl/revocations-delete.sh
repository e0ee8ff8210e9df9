#!/bin/sh
# Takes a revocation back.
# Usage: revocations-delete.sh node/ID|operator/NAME|service/NAME|serial/HEX
# Role: security-admin, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.IdentityService/DeleteRevocation <<EOF
{"subject": $(quote "$1")}
EOF
