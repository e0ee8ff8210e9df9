#!/bin/sh
# Issues from the new slot from now on, and asks nodes to renew.
# Usage: authority-activate.sh [force]
# Role: security-admin, on "*".
. "$(dirname "$0")/lib.sh"
[ "${1:-force}" = force ] || usage
call muster.admin.v1.IdentityService/ActivateAuthority <<EOF
{"force": $([ "${1:-}" = force ] && echo true || echo false)}
EOF
