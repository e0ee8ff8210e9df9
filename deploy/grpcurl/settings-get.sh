#!/bin/sh
# One settings profile.
# Usage: settings-get.sh NAME
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.SettingsService/GetSettingsProfile <<EOF
{"name": $(quote "$1")}
EOF
