#!/bin/sh
# Runs a script with all that an order can say of it: user, arguments, limits and so on.
# Usage: run-script-spec.sh SELECTOR FILE [REQUEST_ID]
# FILE holds a JSON object of muster.types.v1.RunScript; docs/scripts.md has one.
# The same request id answers with the same operation. Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
call muster.admin.v1.OperationsService/StartOperation <<REQUEST
{
  "selector": $(quote "$1"),
  "spec": {"run_script": $(cat "$2")},
  "request_id": $(quote "${3:-}"),
  "deliver_within": "3600s",
  "run_timeout": "600s"
}
REQUEST
