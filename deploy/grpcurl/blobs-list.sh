#!/bin/sh
# All blobs.
# Usage: blobs-list.sh [PAGE_TOKEN]
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.BlobsService/ListBlobs <<EOF
{"page_token": $(quote "${1:-}")}
EOF
