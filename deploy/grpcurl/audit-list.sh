#!/bin/sh
# Who did what, the newest first; of one subject or one actor.
# Usage: audit-list.sh [SUBJECT [ACTOR]]
# Role: security-admin.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.AuditService/ListAuditEntries <<EOF
{"page_size": 100, "subject": $(quote "${1:-}"), "actor": $(quote "${2:-}")}
EOF
