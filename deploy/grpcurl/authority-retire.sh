#!/bin/sh
# Ends the trust in the old slot; what it issued is refused from then on.
# Usage: authority-retire.sh [force]
# Role: security-admin, on "*".
. "$(dirname "$0")/lib.sh"
[ "${1:-force}" = force ] || usage
call muster.admin.v1.IdentityService/RetireAuthority <<EOF
{"force": $([ "${1:-}" = force ] && echo true || echo false)}
EOF
