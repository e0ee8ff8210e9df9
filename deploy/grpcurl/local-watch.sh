#!/bin/sh
# The same, now and whenever it changes.
# Usage: local-watch.sh [SOCKET]   (/run/muster/agent.sock)
# Caller: everybody on the host.
. "$(dirname "$0")/lib.sh"
"$GRPCURL" -plaintext -unix -authority localhost ${MUSTER_MAX_TIME:+-max-time "$MUSTER_MAX_TIME"} \
    "${1:-/run/muster/agent.sock}" muster.local.v1.AgentService/WatchStatus
