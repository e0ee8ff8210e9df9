#!/bin/sh
# Gives a receiver another URL; its secret stays. With the word "paused" it is told nothing for now.
# Usage: alert-receivers-update.sh RECEIVER alertmanager|webhook URL [paused]
# Role: security-admin on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 3 ] || usage
target=$(printf '%s' "$2" | tr '[:lower:]' '[:upper:]')
paused=false
[ "${4:-}" = paused ] && paused=true
call muster.admin.v1.AlertsService/UpdateAlertReceiver <<EOF
{
  "receiver": {
    "name": $(quote "$1"),
    "target": $(quote "ALERT_TARGET_$target"),
    "url": $(quote "$3"),
    "paused": $paused
  }
}
EOF
