#!/bin/sh
# Uploads a file as a blob; prints it with its SHA-256, by which it is known.
# Usage: blobs-upload.sh FILE
# In chunks through one call; for large files and bad lines take
# ../examples/python/blobs.py, which goes on where an upload broke.
# Role: deployer, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
size=$(wc -c <"$1" | tr -d ' ')
sha256=$(sha256sum <"$1" | cut -c 1-64 | hex_base64)
parts() {
    printf '{"start": {"sha256": "%s", "size_bytes": %s}}\n' "$sha256" "$size"
    at=0
    while [ $((at * 65536)) -lt "$size" ]; do
        printf '{"chunk": "%s"}\n' "$(dd if="$1" bs=65536 skip="$at" count=1 2>/dev/null | base64 | tr -d '\n')"
        at=$((at + 1))
    done
}
parts "$1" | call muster.admin.v1.BlobsService/UploadBlob
