#!/bin/sh
# Deletes one version of a bundle, or all of them (0); refused while assigned.
# Usage: bundles-delete.sh NAME VERSION
# Role: deployer, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 2 ] || usage
call muster.admin.v1.BundlesService/DeleteBundle <<EOF
{"name": $(quote "$1"), "version": $2}
EOF
