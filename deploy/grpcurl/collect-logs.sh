#!/bin/sh
# Has hosts bring what they and their agents have logged, without credentials.
# Usage: collect-logs.sh SELECTOR [SINCE_S [UNIT...]]
# Of the journals of a day by default; of other units than the agent's only those that
# the host's lock file names. Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
selector=$1 since=${2:-86400}
if [ $# -gt 2 ]; then shift 2; else set --; fi
call muster.admin.v1.OperationsService/StartOperation <<EOF
{
  "selector": $(quote "$selector"),
  "spec": {"collect_logs": {"since_s": $since, "units": [$(quotes "$@")]}}
}
EOF
