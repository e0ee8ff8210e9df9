#!/bin/sh
# Makes a new issuing certificate, or a new root with one, and has every node trust it beside the old one.
# Usage: authority-prepare.sh [ISSUING|ROOT]
# Role: security-admin, on "*".
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.IdentityService/PrepareAuthority <<EOF
{"scope": $(quote "AUTHORITY_SCOPE_${1:-ISSUING}")}
EOF
