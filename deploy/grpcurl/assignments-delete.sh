#!/bin/sh
# Ends an assignment: its item is taken off the nodes that had it from here.
# Usage: assignments-delete.sh ASSIGNMENT
# Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.AssignmentsService/DeleteAssignment <<EOF
{"name": $(quote "$1")}
EOF
