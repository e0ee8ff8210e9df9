#!/bin/sh
# Has an Alertmanager told of alerts, or a webhook of yours, whose deliveries are signed with the
# content of SECRET_FILE.
# Usage: alert-receivers-create.sh RECEIVER alertmanager|webhook URL [SECRET_FILE]
# Role: security-admin on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 3 ] || usage
target=$(printf '%s' "$2" | tr '[:lower:]' '[:upper:]')
secret=
[ $# -gt 3 ] && secret=$(cat "$4")
call muster.admin.v1.AlertsService/CreateAlertReceiver <<EOF
{
  "receiver": {
    "name": $(quote "$1"),
    "target": $(quote "ALERT_TARGET_$target"),
    "url": $(quote "$3"),
    "secret": $(quote "$secret")
  }
}
EOF
