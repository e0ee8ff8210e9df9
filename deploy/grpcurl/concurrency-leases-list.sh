#!/bin/sh
# All concurrency leases.
# Usage: concurrency-leases-list.sh
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.ConcurrencyLeasesService/ListConcurrencyLeases <<EOF
{}
EOF
