#!/bin/sh
# Says yes to more recoveries of a node that had as many as the policy allows.
# Usage: nodes-allow-recovery.sh NODE_ID
# Role: security-admin.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.NodesService/AllowRecovery <<EOF
{"id": $(quote "$1")}
EOF
