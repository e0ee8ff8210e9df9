#!/bin/sh
# Nobody is told of some alerts until END, a time as 2030-01-31T12:00:00Z: of those of RULE (or of
# any, with ""), about the nodes of SELECTOR (or about anything, without one).
# Usage: alerts-silence.sh END COMMENT [RULE [SELECTOR]]
# Role: operator on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
call muster.admin.v1.AlertsService/SilenceAlerts <<EOF
{
  "silence": {
    "end_time": $(quote "$1"),
    "comment": $(quote "$2"),
    "rule": $(quote "${3:-}"),
    "selector": $(quote "${4:-}")
  }
}
EOF
