#!/bin/sh
# Makes the next issuer of identities for programs; "at-once" for a stolen key: all others are trusted no more.
# Usage: workload-rotate.sh [at-once]
# Role: security-admin, on "*".
. "$(dirname "$0")/lib.sh"
at_once=false
[ "${1:-}" = at-once ] && at_once=true
call muster.admin.v1.WorkloadsService/RotateWorkloadIssuer <<EOF
{"at_once": $at_once}
EOF
