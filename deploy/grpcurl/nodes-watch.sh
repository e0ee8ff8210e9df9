#!/bin/sh
# Nodes as they are, then every change; goes on where a resume token ended.
# Usage: nodes-watch.sh [SELECTOR [RESUME_TOKEN]]
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.NodesService/WatchNodes <<EOF
{"selector": $(quote "${1:-}"), "resume_token": $(quote "${2:-}")}
EOF
