#!/bin/sh
# The file that a command brought, in chunks, from an offset on; in a row they are the file.
# Usage: results-download.sh COMMAND_ID [OFFSET]
# The file: results-download.sh ID | jq -r '.chunk' | while read -r chunk; do printf %s "$chunk" | base64 -d; done
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.OperationsService/DownloadResult <<EOF
{"command_id": $(quote "$1"), "offset": ${2:-0}}
EOF
