#!/bin/sh
# All that are told of alerts, without their secrets.
# Usage: alert-receivers-list.sh
# Role: viewer on "*".
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.AlertsService/ListAlertReceivers <<EOF
{}
EOF
