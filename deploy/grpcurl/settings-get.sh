#!/bin/sh
# One version of a settings profile; the newest by default.
# Usage: settings-get.sh NAME [VERSION]
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.SettingsService/GetSettingsProfile <<EOF
{"name": $(quote "$1"), "version": ${2:-0}}
EOF
