#!/bin/sh
# One alert; of many nodes with what they have in common, and some of them.
# Usage: alerts-get.sh ALERT_ID
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.AlertsService/GetAlert <<EOF
{"id": $(quote "$1")}
EOF
