#!/bin/sh
# How far an upload of yours is, by its id or by the file that it is of.
# Usage: uploads-get.sh ID|FILE
# Role: deployer, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
if [ -f "$1" ]; then
    which="\"sha256\": \"$(sha256sum <"$1" | cut -c 1-64 | hex_base64)\""
else
    which="\"upload_id\": $(quote "$1")"
fi
call muster.admin.v1.BlobsService/GetUpload <<EOF
{$which}
EOF
