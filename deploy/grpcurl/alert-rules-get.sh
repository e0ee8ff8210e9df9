#!/bin/sh
# One rule of alerts, written or built in.
# Usage: alert-rules-get.sh RULE
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.AlertsService/GetAlertRule <<EOF
{"name": $(quote "$1")}
EOF
