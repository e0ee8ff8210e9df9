#!/bin/sh
# How the agent of this host stands, over its Unix socket.
# Usage: local-status.sh [SOCKET]   (/run/muster/agent.sock)
# Caller: everybody on the host.
. "$(dirname "$0")/lib.sh"
"$GRPCURL" -plaintext -unix -authority localhost "${1:-/run/muster/agent.sock}" muster.local.v1.AgentService/GetStatus
