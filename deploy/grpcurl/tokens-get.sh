#!/bin/sh
# One join token: how often it was used, and until when it can be.
# Usage: tokens-get.sh TOKEN_ID
# Role: enroller, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.JoinTokensService/GetJoinToken <<EOF
{"id": $(quote "$1")}
EOF
