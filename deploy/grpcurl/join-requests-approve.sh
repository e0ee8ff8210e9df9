#!/bin/sh
# Lets a host in that waits; it becomes a node when it asks again.
# Usage: join-requests-approve.sh REQUEST_ID
# Role: enroller, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.JoinTokensService/ApproveJoinRequest <<EOF
{"id": $(quote "$1")}
EOF
