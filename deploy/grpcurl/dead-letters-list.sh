#!/bin/sh
# What receivers of alerts could not be told, and are not told any more by itself.
# Usage: dead-letters-list.sh [PAGE_TOKEN]
# Role: viewer on "*".
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.AlertsService/ListDeadLetters <<EOF
{"page_token": $(quote "${1:-}")}
EOF
