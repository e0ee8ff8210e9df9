#!/bin/sh
# Boots hosts anew, each once; succeeded when they are back with another boot id.
# Usage: reboot.sh SELECTOR [DELAY_S [MESSAGE]]
# Denied on hosts whose lock file does not allow it. Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.OperationsService/StartOperation <<EOF
{
  "selector": $(quote "$1"),
  "spec": {"reboot": {"delay_s": ${2:-0}, "message": $(quote "${3:-}")}},
  "run_timeout": "$((${2:-0} + 1800))s"
}
EOF
