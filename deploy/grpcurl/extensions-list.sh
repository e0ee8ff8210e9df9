#!/bin/sh
# All versions of all extensions, or of one.
# Usage: extensions-list.sh [NAME]
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.ExtensionsService/ListExtensions <<EOF
{"page_size": 100, "name": $(quote "${1:-}")}
EOF
