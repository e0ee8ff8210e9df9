#!/bin/sh
# One step back: of activate to prepared, of prepare to steady.
# Usage: authority-rollback.sh
# Role: security-admin, on "*".
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.IdentityService/RollbackAuthority <<EOF
{}
EOF
