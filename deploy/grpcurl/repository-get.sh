#!/bin/sh
# Versions of the signed repository's roles, and when each must be signed again.
# Usage: repository-get.sh
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.ArtifactsService/GetRepository <<EOF
{}
EOF
