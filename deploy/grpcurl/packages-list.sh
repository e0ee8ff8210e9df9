#!/bin/sh
# Packages of extensions that the signed repository has, with versions and kinds of hosts.
# Usage: packages-list.sh
# Role: viewer.
. "$(dirname "$0")/lib.sh"
call muster.admin.v1.ExtensionsService/ListPackages <<EOF
{}
EOF
