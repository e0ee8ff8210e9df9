#!/bin/sh
# Makes the next version of a bundle out of a whole content.
# Usage: bundles-put.sh NAME CONTENT_JSON_FILE
# The file is a BundleContent as JSON, as bundle.json beside this script is: files,
# folders and what must not be there, with mode and owner. Bytes of files are base64.
# Role: deployer, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 2 ] || usage
call muster.admin.v1.BundlesService/CreateBundle <<EOF
{"name": $(quote "$1"), "content": $(cat "$2")}
EOF
