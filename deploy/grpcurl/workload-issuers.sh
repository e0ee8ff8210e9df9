#!/bin/sh
# Issuers of identities for programs, and the keys with which their tokens are checked.
# Usage: workload-issuers.sh
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.WorkloadsService/GetWorkloadIssuers <<EOF
{}
EOF
