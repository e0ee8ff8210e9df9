#!/bin/sh
# Lets all matching nodes out that wait because the store was restored from a backup that is older than what
# they follow: what was changed on them since is undone. With "count" as the third argument it only says how many.
# Usage: nodes-accept-restored.sh [SELECTOR [REASON [count]]]
# Role: security-admin.
. "$(dirname "$0")/lib.sh"
[ "${3:-}" = count ] && only=true || only=false
call muster.admin.v1.NodesService/AcceptRestored <<EOF
{"selector": $(quote "${1:-}"), "reason": $(quote "${2:-}"), "validate_only": $only}
EOF
