#!/bin/sh
# All assignments.
# Usage: assignments-list.sh
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.AssignmentsService/ListAssignments <<EOF
{"page_size": 100}
EOF
