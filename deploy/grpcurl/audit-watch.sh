#!/bin/sh
# Entries of the audit as they are written; goes on where a resume token ended.
# Usage: audit-watch.sh [ACTION_PREFIX [RESUME_TOKEN]]
# Role: security-admin, on "*".
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.AuditService/WatchAuditEntries <<EOF
{"action_prefix": $(quote "${1:-}"), "resume_token": $(quote "${2:-}")}
EOF
