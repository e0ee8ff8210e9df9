#!/bin/sh
# Makes a rule about nodes: KIND is one of NODE_OFFLINE, NODE_LATE, ITEM_FAILED, ITEM_REJECTED,
# ITEM_STUCK, DRIFT, QUARANTINE, CLOCK_SKEW, VERSION_UNSUPPORTED; for SECONDS it must be so.
# Usage: alert-rules-create.sh RULE KIND SELECTOR SECONDS SEVERITY [RECEIVER...]
# Role: operator on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 5 ] || usage
rule=$1 kind=$2 selector=$3 seconds=$4 severity=$5
shift 5
call muster.admin.v1.AlertsService/CreateAlertRule <<EOF
{
  "rule": {
    "name": $(quote "$rule"),
    "kind": $(quote "ALERT_KIND_$kind"),
    "selector": $(quote "$selector"),
    "hold": "${seconds}s",
    "severity": $(quote "ALERT_SEVERITY_$severity"),
    "receivers": [$(quotes "$@")]
  }
}
EOF
