#!/bin/sh
# One concurrency lease, and how many of its places are taken now.
# Usage: concurrency-leases-get.sh LEASE
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.ConcurrencyLeasesService/GetConcurrencyLease <<EOF
{"name": $(quote "$1")}
EOF
