#!/bin/sh
# What happens, as it is written; goes on where a resume token ended. With SEVERITY only what is at least so bad.
# Usage: events-watch.sh [SEVERITY [RESUME_TOKEN]]   SEVERITY: INFO, WARNING, CRITICAL
# Role: viewer.
. "$(dirname "$0")/lib.sh"
severity=UNSPECIFIED
[ -n "${1:-}" ] && severity=$1
call muster.admin.v1.EventsService/WatchEvents <<EOF
{"severity": "ALERT_SEVERITY_$severity", "resume_token": $(quote "${2:-}")}
EOF
