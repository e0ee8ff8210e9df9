#!/bin/sh
# Silences that hold or will, and those that ended lately.
# Usage: silences-list.sh
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.AlertsService/ListSilences <<EOF
{}
EOF
