#!/bin/sh
# Makes a join token useless; nodes that came with it stay.
# Usage: tokens-revoke.sh TOKEN_ID
# Role: enroller, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.JoinTokensService/RevokeJoinToken <<EOF
{"id": $(quote "$1")}
EOF
