#!/bin/sh
# Makes a concurrency lease: at most LIMIT commands in flight at once, of all operations.
# Usage: concurrency-leases-create.sh LEASE LIMIT [DESCRIPTION [KIND...]]
# Commands of each KIND ("run-script") always take a place, those of operations that name
# the lease, too. Role: operator, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 2 ] || usage
name=$1 limit=$2 description=${3:-}
if [ $# -gt 3 ]; then shift 3; else set --; fi
call muster.admin.v1.ConcurrencyLeasesService/CreateConcurrencyLease <<EOF
{
  "lease": {
    "name": $(quote "$name"),
    "limit": $limit,
    "description": $(quote "$description"),
    "kinds": [$(quotes "$@")]
  }
}
EOF
