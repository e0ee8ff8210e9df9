#!/bin/sh
# One schedule: what it starts, when next, and what became of its last times.
# Usage: schedules-get.sh SCHEDULE
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.SchedulesService/GetSchedule <<EOF
{"name": $(quote "$1")}
EOF
