#!/bin/sh
# The bytes of a blob in chunks, from an offset on; in a row they are the blob.
# Usage: blobs-download.sh SHA256 [OFFSET]
# The file: blobs-download.sh SHA256 | jq -r '.chunk' | while read -r chunk; do printf %s "$chunk" | base64 -d; done
# Role: viewer.
. "$(dirname "$0")/lib.sh"
[ $# -ge 1 ] || usage
call muster.admin.v1.BlobsService/DownloadBlob <<EOF
{"sha256": "$(printf %s "$1" | hex_base64)", "offset": ${2:-0}}
EOF
