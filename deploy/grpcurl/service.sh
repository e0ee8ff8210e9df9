#!/bin/sh
# Starts, stops or restarts a systemd unit on nodes, or tells how it is.
# Usage: service.sh SELECTOR start|stop|restart|status UNIT
# Denied on hosts whose lock file does not name the unit. Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -eq 3 ] || usage
action=$(printf %s "$2" | tr '[:lower:]' '[:upper:]')
call muster.admin.v1.OperationsService/StartOperation <<EOF
{
  "selector": $(quote "$1"),
  "spec": {"service": {"action": $(quote "SERVICE_ACTION_$action"), "unit": $(quote "$3")}}
}
EOF
