#!/bin/sh
# Lets a channel recommend a release; makes the channel if there is none. It moves no node.
# Usage: channels-set.sh NAME VERSION [ETAG]
# Role: deployer, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
call muster.admin.v1.ReleasesService/SetChannel <<EOF
{"channel": {"name": $(quote "$1"), "version": $(quote "$2"), "etag": $(quote "${3:-}")}}
EOF
