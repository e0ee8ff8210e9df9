#!/bin/sh
# Who did what, the newest first; of one subject, one actor, some actions, one time.
# Usage: audit-list.sh [SUBJECT [ACTOR [ACTION_PREFIX [SINCE [UNTIL [REPLICA [DENIED_ONLY]]]]]]]
# SINCE and UNTIL like 2026-01-31T00:00:00Z; DENIED_ONLY true or false; "" leaves one out.
# Role: security-admin, on "*".
. "$(dirname "$0")/lib.sh"
[ -z "${4:-}" ] || since=", \"since\": $(quote "$4")"
[ -z "${5:-}" ] || until=", \"until\": $(quote "$5")"
call muster.admin.v1.AuditService/ListAuditEntries <<EOF
{
  "page_size": 100,
  "subject": $(quote "${1:-}"),
  "actor": $(quote "${2:-}"),
  "action_prefix": $(quote "${3:-}"),
  "replica": $(quote "${6:-}"),
  "denied_only": ${7:-false}${since:-}${until:-}
}
EOF
