#!/bin/sh
# One assignment, and how many nodes it matches now.
# Usage: assignments-get.sh ASSIGNMENT
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.AssignmentsService/GetAssignment <<EOF
{"name": $(quote "$1")}
EOF
