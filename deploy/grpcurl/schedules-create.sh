#!/bin/sh
# Runs a script again and again: "30 3 * * mon-fri", in a time zone as Europe/Berlin, or by
# each host's own clock ("host").
# Usage: schedules-create.sh SCHEDULE CRON TIME_ZONE SELECTOR SCRIPT
# Role: operator.
. "$(dirname "$0")/lib.sh"
[ $# -eq 5 ] || usage
call muster.admin.v1.SchedulesService/CreateSchedule <<EOF
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
    "catch_up": "600s"
  }
}
EOF
