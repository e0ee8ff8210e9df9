#!/bin/sh
# What is known of a blob: its size, who uploaded it, and what refers to it.
# Usage: blobs-get.sh SHA256
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
call muster.admin.v1.BlobsService/GetBlob <<EOF
{"sha256": "$(printf %s "$1" | hex_base64)"}
EOF
