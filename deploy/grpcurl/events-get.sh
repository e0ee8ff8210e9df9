#!/bin/sh
# One event; of many nodes with how many they are, and a hundred of them.
# Usage: events-get.sh EVENT_ID
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.EventsService/GetEvent <<EOF
{"id": $(quote "$1")}
EOF
