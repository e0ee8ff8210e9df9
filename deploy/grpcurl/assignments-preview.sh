#!/bin/sh
# How many nodes an assignment would reach; nothing is stored.
# Usage: assignments-preview.sh SELECTOR BUNDLE
# Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -eq 2 ] || usage
call muster.admin.v1.AssignmentsService/CreateAssignment <<EOF
{
  "assignment": {"name": "preview", "selector": $(quote "$1"), "bundle": {"name": $(quote "$2")}},
  "validate_only": true
}
EOF
