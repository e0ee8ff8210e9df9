#!/bin/sh
# The files that the signed repository names, page by page.
# Usage: targets-list.sh [PAGE_SIZE [PAGE_TOKEN]]
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.ArtifactsService/ListTargets <<EOF
{"page_size": ${1:-100}, "page_token": $(quote "${2:-}")}
EOF
