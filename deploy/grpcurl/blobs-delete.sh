#!/bin/sh
# Deletes a blob; refused while a bundle refers to it.
# Usage: blobs-delete.sh SHA256
# Role: deployer, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.BlobsService/DeleteBlob <<EOF
{"sha256": "$(printf %s "$1" | hex_base64)"}
EOF
