#!/bin/sh
# Replaces a schedule, and makes you its owner. With the word "paused" nothing is started
# until it is replaced again.
# Usage: schedules-update.sh SCHEDULE CRON TIME_ZONE SELECTOR SCRIPT [paused]
# Role: operator; of another's schedule on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 5 ] || usage
paused=false
[ "${6:-}" = paused ] && paused=true
call muster.admin.v1.SchedulesService/UpdateSchedule <<EOF
{
  "schedule": {
    "name": $(quote "$1"),
    "cron": $(quote "$2"),
    "time_zone": $(quote "$3"),
    "operation": {
      "selector": $(quote "$4"),
      "spec": {"run_script": {"script": $(quote "$5")}},
      "deliver_within": "3600s"
    },
    "paused": $paused
  }
}
EOF
