#!/bin/sh
# Adds the next version of a settings profile; equal values answer the newest.
# Usage: settings-put.sh NAME KEY=VALUE...
# Role: deployer, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
name=$1
shift
values=
for value in "$@"; do
    values="$values${values:+, }$(quote "${value%%=*}"): $(quote "${value#*=}")"
done
call muster.admin.v1.SettingsService/PutSettingsProfile <<EOF
{"profile": {"name": $(quote "$name"), "values": {$values}}}
EOF
