#!/bin/sh
# All versions of all settings profiles, or of one.
# Usage: settings-list.sh [NAME]
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.SettingsService/ListSettingsProfiles <<EOF
{"page_size": 100, "name": $(quote "${1:-}")}
EOF
