#!/bin/sh
# Alerts, the newest first; with the word "all" those that have ended, too.
# Usage: alerts-list.sh [all [PAGE_TOKEN]]
# Role: viewer.
. "$(dirname "$0")/lib.sh"
all=false
[ "${1:-}" = all ] && all=true
call muster.admin.v1.AlertsService/ListAlerts <<EOF
{"include_resolved": $all, "page_token": $(quote "${2:-}")}
EOF
