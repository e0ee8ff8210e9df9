#!/bin/sh
# Lets a node out of quarantine. With an instance id (nodes-get.sh shows who was seen), that process alone
# is the node from now on.
# Usage: nodes-release.sh NODE_ID [INSTANCE_ID [REASON]]
# Role: security-admin.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.NodesService/ReleaseQuarantine <<EOF
{"id": $(quote "$1"), "keep_instance_id": $(quote "${2:-}"), "reason": $(quote "${3:-}")}
EOF
