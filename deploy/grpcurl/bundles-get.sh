#!/bin/sh
# One version of a bundle with its content; the newest by default.
# Usage: bundles-get.sh NAME [VERSION]
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.BundlesService/GetBundle <<EOF
{"name": $(quote "$1"), "version": ${2:-0}}
EOF
