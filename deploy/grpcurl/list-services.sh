#!/bin/sh
# What services there are, by reflection.
# Usage: list-services.sh
# Role: viewer.
. "$(dirname "$0")/lib.sh"
grpc "$MUSTER_ADDRESS" list
