#!/bin/sh
# All rules of alerts, those that are built in, too.
# Usage: alert-rules-list.sh
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.AlertsService/ListAlertRules <<EOF
{}
EOF
