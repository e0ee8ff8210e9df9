#!/bin/sh
# Says that somebody looks after an alert.
# Usage: alerts-acknowledge.sh ALERT_ID [COMMENT]
# Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.AlertsService/AcknowledgeAlert <<EOF
{"id": $(quote "$1"), "comment": $(quote "${2:-}")}
EOF
