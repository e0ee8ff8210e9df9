#!/bin/sh
# Deletes one version of an extension, or all of them (0); refused while assigned.
# Usage: extensions-delete.sh NAME VERSION
# Role: deployer, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 2 ] || usage
call muster.admin.v1.ExtensionsService/DeleteExtension <<EOF
{"name": $(quote "$1"), "version": $2}
EOF
