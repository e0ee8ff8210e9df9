#!/bin/sh
# Who is not let in.
# Usage: revocations-list.sh
# Role: viewer, on "*".
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.IdentityService/ListRevocations <<EOF
{}
EOF
