#!/bin/sh
# Hosts that wait for approval, with key and address.
# Usage: join-requests-list.sh [PAGE_SIZE [PAGE_TOKEN]]
# Role: enroller, on "*".
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.JoinTokensService/ListJoinRequests <<EOF
{"page_size": ${1:-100}, "page_token": $(quote "${2:-}")}
EOF
