#!/bin/sh
# Makes a state of the signed repository the newest: its metadata files, from a folder.
# Usage: repository-publish.sh METADATA_FOLDER
# The folder is the folder "metadata" of a static mirror: all roots, and the newest of the
# rest, are sent. What they name must be here as blobs: upload each file with
# blobs-upload.sh first. The keys stay where the metadata was signed.
# Role: deployer, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -eq 1 ] || usage
newest() { ls "$1" | grep "^[0-9]*\.$2\.json$" | sort -n | tail -n 1; }
files() {
    comma=
    for file in $(ls "$1" | grep '^[0-9]*\.root\.json$') "$(newest "$1" targets)" "$(newest "$1" snapshot)" timestamp.json; do
        printf '%s{"path": %s, "content": "%s"}' "$comma" "$(quote "metadata/$file")" "$(file_base64 "$1/$file")"
        comma=', '
    done
}
call muster.admin.v1.ArtifactsService/PublishRepository <<EOF
{"metadata": [$(files "$1")]}
EOF
