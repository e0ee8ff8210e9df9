#!/bin/sh
# Signed checkpoints of the audit, the newest first; keep the line of the newest elsewhere.
# Usage: audit-checkpoints.sh [REPLICA]
# Role: security-admin, on "*".
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.AuditService/ListCheckpoints <<EOF
{"page_size": 100, "replica": $(quote "${1:-}")}
EOF
