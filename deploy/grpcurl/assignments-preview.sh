#!/bin/sh
# What an assignment would do to which nodes, with what changes in their files; nothing is stored.
# Usage: assignments-preview.sh SELECTOR BUNDLE [ASSIGNMENT [VERSION [PRIORITY [EXCLUSION...]]]]
#        assignments-preview.sh delete ASSIGNMENT
# One that is there would be updated, another one made. Role: deployer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
if [ "$1" = delete ]; then
    call muster.admin.v1.AssignmentsService/PreviewAssignment <<EOF
{"delete_name": $(quote "$2")}
EOF
    exit
fi
selector=$1 bundle=$2 name=${3:-preview}
if [ $# -gt 3 ]; then shift 3; else set --; fi
bundle_assignment "$name" "$selector" "$bundle" "$@" |
    call muster.admin.v1.AssignmentsService/PreviewAssignment
