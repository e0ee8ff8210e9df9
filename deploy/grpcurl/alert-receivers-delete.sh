#!/bin/sh
# Deletes a receiver, with all that it was still to be told; refused while a rule names it.
# Usage: alert-receivers-delete.sh RECEIVER
# Role: security-admin on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.AlertsService/DeleteAlertReceiver <<EOF
{"name": $(quote "$1")}
EOF
