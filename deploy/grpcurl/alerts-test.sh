#!/bin/sh
# Makes an alert of a rule that ends by itself after a minute: do its receivers hear of it?
# Usage: alerts-test.sh RULE
# Role: operator on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.AlertsService/TestFireAlert <<EOF
{"rule": $(quote "$1")}
EOF
