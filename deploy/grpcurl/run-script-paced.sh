#!/bin/sh
# Runs a script on a few nodes at first, then on more, and stops when too many have failed.
# Usage: run-script-paced.sh SELECTOR SCRIPT LIMIT MAX_FAILURES [ORDER_BY_LABEL [LEASE [SUPERSEDE_KEY]]]
# One node first, then 2, 4, 8 ... up to LIMIT at once; one failure more than MAX_FAILURES
# ends what is queued. LEASE is a concurrency lease of which each node takes a place; with
# SUPERSEDE_KEY it takes the place of older ones with the same key. Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -ge 4 ] || usage
call muster.admin.v1.OperationsService/StartOperation <<EOF
{
  "selector": $(quote "$1"),
  "spec": {"run_script": {"script": $(quote "$2")}},
  "pacing": {
    "limit": $3,
    "ramp_start": 1,
    "max_failures": $4,
    "order_by_label": $(quote "${5:-}")
  },
  "lease": $(quote "${6:-}"),
  "supersede": {"key": $(quote "${7:-}")}
}
EOF
