#!/bin/sh
# Deletes a concurrency lease; refused while an operation that has not ended names it.
# Usage: concurrency-leases-delete.sh LEASE [ETAG]
# Role: operator, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.ConcurrencyLeasesService/DeleteConcurrencyLease <<EOF
{"name": $(quote "$1"), "etag": $(quote "${2:-}")}
EOF
