#!/bin/sh
# Releases of the agent, the newest first, with the channels that recommend each.
# Usage: releases-list.sh
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.ReleasesService/ListReleases <<EOF
{}
EOF
