#!/bin/sh
# Whether the control plane serves, as load balancers ask it.
# Usage: health.sh [SERVICE]
# Role: any.
. "$(dirname "$0")/lib.sh"
call grpc.health.v1.Health/Check <<EOF
{"service": $(quote "${1:-}")}
EOF
