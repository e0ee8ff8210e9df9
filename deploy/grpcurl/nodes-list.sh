#!/bin/sh
# Nodes that a selector matches, page by page.
# Usage: nodes-list.sh [SELECTOR [PAGE_SIZE [PAGE_TOKEN]]]
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.NodesService/ListNodes <<EOF
{
  "selector": $(quote "${1:-}"),
  "page_size": ${2:-100},
  "page_token": $(quote "${3:-}")
}
EOF
