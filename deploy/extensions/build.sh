#!/bin/sh
# Makes the packages of the extensions here: build.sh FOLDER writes there, for each,
# PUBLISHER/TYPE/VERSION/linux-any.tar.zst, as the signed repository names them below
# extension/. The same files give the same bytes.
set -eu
to=${1:?"usage: build.sh FOLDER"}
here=$(dirname "$(realpath "$0")")
for manifest in "$here"/*/manifest.toml; do
    folder=$(dirname "$manifest")
    word() { sed -n "s/^$1 = \"\(.*\)\"$/\1/p" "$manifest" | head -n 1; }
    package="$to/$(word publisher)/$(word type)/$(word version)/linux-any.tar.zst"
    mkdir -p "$(dirname "$package")"
    tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --format=ustar \
        --mode='u=rwX,go=rX' --directory="$folder" . | zstd --quiet --force -19 -o "$package"
    printf '%s\n' "$package"
done
