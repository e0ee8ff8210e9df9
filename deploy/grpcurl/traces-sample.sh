#!/bin/sh
# Which part of the calls is traced, on all replicas and at once.
# Usage: traces-sample.sh [RATIO]: from 0 to 1; without one what the configuration says, again
# Role: security-admin on all nodes.
. "$(dirname "$0")/lib.sh"
ratio=${1:+"\"ratio\": $1"}
call muster.admin.v1.SystemService/SetTraceSampling <<EOF
{$ratio}
EOF
