#!/bin/sh
# Deletes a settings profile; refused while assigned.
# Usage: settings-delete.sh NAME
# Role: deployer, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.SettingsService/DeleteSettingsProfile <<EOF
{"name": $(quote "$1")}
EOF
