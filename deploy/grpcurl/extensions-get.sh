#!/bin/sh
# One version of an extension with its content; the newest by default.
# Usage: extensions-get.sh NAME [VERSION]
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.ExtensionsService/GetExtension <<EOF
{"name": $(quote "$1"), "version": ${2:-0}}
EOF
