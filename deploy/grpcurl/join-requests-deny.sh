#!/bin/sh
# Does not let a host in; its key is refused until its token ends.
# Usage: join-requests-deny.sh REQUEST_ID
# Role: enroller, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.JoinTokensService/DenyJoinRequest <<EOF
{"id": $(quote "$1")}
EOF
