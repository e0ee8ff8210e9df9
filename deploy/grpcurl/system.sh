#!/bin/sh
# Release, store, epoch, and how many nodes are in which state.
# Usage: system.sh
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.SystemService/GetSystem <<EOF
{}
EOF
