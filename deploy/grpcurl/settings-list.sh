#!/bin/sh
# All settings profiles.
# Usage: settings-list.sh
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.SettingsService/ListSettingsProfiles <<EOF
{"page_size": 100}
EOF
