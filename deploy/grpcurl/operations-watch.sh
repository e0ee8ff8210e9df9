#!/bin/sh
# An operation as it goes, with output, until its last command has ended.
# Usage: operations-watch.sh OPERATION_ID [RESUME_TOKEN]
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.OperationsService/WatchOperation <<EOF
{"id": $(quote "$1"), "with_output": true, "resume_token": $(quote "${2:-}")}
EOF
