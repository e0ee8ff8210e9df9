#!/bin/sh
# Ends a silence now.
# Usage: silences-expire.sh SILENCE_ID
# Role: operator on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.AlertsService/ExpireSilence <<EOF
{"id": $(quote "$1")}
EOF
