#!/bin/sh
# All channels, and what each recommends.
# Usage: channels-list.sh
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.ReleasesService/ListChannels <<EOF
{}
EOF
