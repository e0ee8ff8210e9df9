#!/bin/sh
# All schedules, a page of them.
# Usage: schedules-list.sh [PAGE_TOKEN]
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.SchedulesService/ListSchedules <<EOF
{"page_token": $(quote "${1:-}")}
EOF
