#!/bin/sh
# Lets somebody in no more, and cuts what is open: a stolen key, a colleague who left.
# Usage: revoke.sh node/ID|operator/NAME|service/NAME|serial/HEX [REASON]
# Role: security-admin, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.IdentityService/Revoke <<EOF
{"subject": $(quote "$1"), "reason": $(quote "${2:-}")}
EOF
