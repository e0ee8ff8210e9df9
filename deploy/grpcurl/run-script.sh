#!/bin/sh
# Runs a shell script on all nodes that a selector matches, at most once each.
# Usage: run-script.sh SELECTOR SCRIPT [REQUEST_ID]
# The same request id answers with the same operation. Denied on hosts whose lock
# file does not allow scripts. Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
call muster.admin.v1.OperationsService/StartOperation <<EOF
{
  "selector": $(quote "$1"),
  "spec": {"run_script": {"script": $(quote "$2")}},
  "request_id": $(quote "${3:-}"),
  "deliver_within": "3600s",
  "run_timeout": "600s"
}
EOF
