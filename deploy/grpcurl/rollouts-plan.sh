#!/bin/sh
# Brings the newest version of a bundle to nodes by a plan of your own: one node, then 20 %
# after a yes, then all; two of one rack at most at a time, at night by the hosts' clocks.
# Usage: rollouts-plan.sh ASSIGNMENT BUNDLE [RACK_LABEL]
# Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
call muster.admin.v1.RolloutsService/CreateRollout <<EOF
{
  "assignment": $(quote "$1"),
  "bundle": {"name": $(quote "$2")},
  "plan": {
    "steps": [
      {"count": 1, "soak": "600s"},
      {"percent": 20, "soak": "3600s", "approval": true},
      {"percent": 100}
    ],
    "max_in_flight": 50,
    "max_failed": {"count": 2},
    "success_percent": 95,
    "budget": {"label": $(quote "${3:-rack}"), "max": {"count": 2}},
    "windows": [{"days": [1, 2, 3, 4, 5], "start_minute": 1320, "minutes": 360}],
    "patience": "900s"
  }
}
EOF
