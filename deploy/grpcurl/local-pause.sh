#!/bin/sh
# Lets changes and commands rest on this host, or ends that.
# Usage: local-pause.sh REASON [SECONDS [SOCKET]]; REASON - ends a pause
# Caller: root, or the agent's user.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
socket=${3:-/run/muster/agent.sock} lasts=
[ -z "${2:-}" ] || lasts=", \"duration\": $(quote "${2}s")"
if [ "$1" = - ]; then
    "$GRPCURL" -plaintext -unix -authority localhost "$socket" muster.local.v1.AgentService/Resume
else
    "$GRPCURL" -plaintext -unix -authority localhost -d @ "$socket" muster.local.v1.AgentService/Pause <<BODY
{"reason": $(quote "$1")$lasts}
BODY
fi
