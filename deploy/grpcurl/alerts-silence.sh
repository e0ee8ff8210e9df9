#!/bin/sh
# For so many SECONDS nobody is told of some alerts: of those of RULE (or of any, with ""), about
# the nodes of SELECTOR (or about anything, without one).
# Usage: alerts-silence.sh SECONDS COMMENT [RULE [SELECTOR]]
# Role: operator on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
end=$(date -u -d "@$(($(date +%s) + $1))" +%Y-%m-%dT%H:%M:%SZ)
call muster.admin.v1.AlertsService/SilenceAlerts <<EOF
{
  "silence": {
    "end_time": $(quote "$end"),
    "comment": $(quote "$2"),
    "rule": $(quote "${3:-}"),
    "selector": $(quote "${4:-}")
  }
}
EOF
