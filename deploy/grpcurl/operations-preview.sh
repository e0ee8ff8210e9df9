#!/bin/sh
# Tells whom a script would reach now, and in which order; nothing is started.
# Usage: operations-preview.sh SELECTOR SCRIPT [ORDER_BY_LABEL [PRECONDITION_SELECTOR]]
# Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
call muster.admin.v1.OperationsService/PreviewOperation <<EOF
{
  "operation": {
    "selector": $(quote "$1"),
    "spec": {"run_script": {"script": $(quote "$2")}},
    "pacing": {"order_by_label": $(quote "${3:-}")},
    "preconditions": {"selector": $(quote "${4:-}")}
  }
}
EOF
