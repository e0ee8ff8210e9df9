#!/bin/sh
# What a command has printed, one page of it, as far as it is kept; in base64, as all bytes in JSON.
# Usage: operations-output.sh COMMAND_ID [OFFSET [stderr]]
# Go on at nextOffset until "ended". Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
stderr=false
[ "${3:-}" = stderr ] && stderr=true
call muster.admin.v1.OperationsService/ReadCommandOutput <<EOF
{"command_id": $(quote "$1"), "offset": ${2:-0}, "stderr": $stderr}
EOF
