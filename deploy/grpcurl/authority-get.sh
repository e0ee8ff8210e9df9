#!/bin/sh
# The certificate authority: its slots, its phase, and how far the fleet is.
# Usage: authority-get.sh
# Role: viewer, on "*".
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.IdentityService/GetAuthority <<EOF
{}
EOF
