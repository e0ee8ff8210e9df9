#!/bin/sh
# One step back: of activate to prepared, of prepare to steady. Refused while somebody
# would be lost by it.
# Usage: authority-rollback.sh [force]
# Role: security-admin, on "*".
. "$(dirname "$0")/lib.sh"
[ "${1:-force}" = force ] || usage
call muster.admin.v1.IdentityService/RollbackAuthority <<EOF
{"force": $([ "${1:-}" = force ] && echo true || echo false)}
EOF
