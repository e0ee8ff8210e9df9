#!/bin/sh
# What a channel recommends.
# Usage: channels-get.sh NAME
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.ReleasesService/GetChannel <<EOF
{"name": $(quote "$1")}
EOF
