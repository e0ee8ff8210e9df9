#!/bin/sh
# All versions of all bundles, or of one.
# Usage: bundles-list.sh [NAME]
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.BundlesService/ListBundles <<EOF
{"page_size": 100, "name": $(quote "${1:-}")}
EOF
