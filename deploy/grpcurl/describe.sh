#!/bin/sh
# What a service or a message looks like, by reflection.
# Usage: describe.sh [muster.admin.v1.NodesService]
# Role: viewer.
. "$(dirname "$0")/lib.sh"
grpc "$MUSTER_ADDRESS" describe "${1:-muster.admin.v1.NodesService}"
