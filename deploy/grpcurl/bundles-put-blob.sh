#!/bin/sh
# Uploads a file, and makes the next version of a bundle that has it as a blob.
# Usage: bundles-put-blob.sh NAME PATH_ON_HOSTS LOCAL_FILE
# For a file that is too large for a bundle itself: up to 8 MiB. What is uploaded already
# is not uploaded again. Prints the entry of "files" for a content that has more
# (bundles-put.sh), and the version that was made.
# Role: deployer, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 3 ] || usage
"$(dirname "$0")/blobs-upload.sh" "$3" >/dev/null
size=$(wc -c <"$3" | tr -d ' ')
sha256=$(sha256sum <"$3" | cut -c 1-64 | hex_base64)
file="{\"path\": $(quote "$2"), \"blob\": {\"sha256\": \"$sha256\", \"size_bytes\": $size}}"
printf '%s\n' "$file"
call muster.admin.v1.BundlesService/CreateBundle <<EOT
{"name": $(quote "$1"), "content": {"files": [$file]}}
EOT
