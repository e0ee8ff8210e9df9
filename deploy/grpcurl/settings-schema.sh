#!/bin/sh
# Every option of the agents: type, range, words, default, when it applies, meaning.
# Usage: settings-schema.sh
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.SettingsService/GetSettingsSchema <<EOF
{}
EOF
