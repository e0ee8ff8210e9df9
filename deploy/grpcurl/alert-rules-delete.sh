#!/bin/sh
# Deletes a rule, and its alerts end; one that is built in is again as it came.
# Usage: alert-rules-delete.sh RULE
# Role: operator on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.AlertsService/DeleteAlertRule <<EOF
{"name": $(quote "$1")}
EOF
