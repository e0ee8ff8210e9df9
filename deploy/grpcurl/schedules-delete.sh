#!/bin/sh
# Deletes a schedule; what it has started goes on.
# Usage: schedules-delete.sh SCHEDULE
# Role: operator; of another's schedule on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.SchedulesService/DeleteSchedule <<EOF
{"name": $(quote "$1")}
EOF
