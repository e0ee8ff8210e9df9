#!/bin/sh
# Alerts as they are now, and as they begin, change and end.
# Usage: alerts-watch.sh [RESUME_TOKEN]
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.AlertsService/WatchAlerts <<EOF
{"resume_token": $(quote "${1:-}")}
EOF
