#!/bin/sh
# Replaces a rule about nodes; with the word "disabled" it leads to nothing. KIND is the one it has.
# Usage: alert-rules-update.sh RULE KIND SELECTOR SECONDS SEVERITY [disabled]
# Role: operator on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 5 ] || usage
disabled=false
[ "${6:-}" = disabled ] && disabled=true
call muster.admin.v1.AlertsService/UpdateAlertRule <<EOF
{
  "rule": {
    "name": $(quote "$1"),
    "kind": $(quote "ALERT_KIND_$2"),
    "selector": $(quote "$3"),
    "hold": "${4}s",
    "severity": $(quote "ALERT_SEVERITY_$5"),
    "disabled": $disabled
  }
}
EOF
