#!/bin/sh
# Entries and checkpoints of some time, in chunks; their bytes in a row are the file that verify takes.
# Usage: audit-export.sh [SINCE [UNTIL]]    (like 2026-01-31T00:00:00Z)
# The file: audit-export.sh | jq -r '.chunk' | while read -r chunk; do printf %s "$chunk" | base64 -d; done
# Role: security-admin, on "*".
. "$(dirname "$0")/lib.sh"
[ -z "${1:-}" ] || since="\"since\": $(quote "$1")"
[ -z "${2:-}" ] || until="\"until\": $(quote "$2")"
call muster.admin.v1.AuditService/ExportAuditEntries <<EOF
{${since:-}${since:+${until:+, }}${until:-}}
EOF
