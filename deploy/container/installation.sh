#!/bin/sh
# Makes an installation that several control planes share: its tables in the database, and
# what all of them need of the state directory in one file, installation.tar.
#
#   installation.sh FOLDER --trust-domain fleet.example --store-url postgres://… --server-name …
#
# FOLDER gets installation.tar and the first operator's files. All arguments behind it are
# those of `muster-control-plane init`. Done already: nothing happens.
set -eu
umask 077
folder=$1
shift

if [ -e "$folder/installation.tar" ]; then
    echo "$folder/installation.tar is there already: nothing is done" >&2
    exit 0
fi

work=$(mktemp -d)
process=
trap '[ -z "$process" ] || kill "$process" 2>/dev/null || true; rm -rf "$work"' EXIT
state=$work/state
muster-control-plane init "$@" --state-dir "$state" --config "$work/control-plane.toml" \
    --listen-agents 127.0.0.1:0 --listen-enrollment 127.0.0.1:0 \
    --listen-operators 127.0.0.1:0 --listen-console 127.0.0.1:0

# Served once: keys that a first start makes must be the same for all.
muster-control-plane serve --config "$work/control-plane.toml" >"$work/log" 2>&1 &
process=$!
tries=0
# It says where it listens when its keys are there.
until [ -s "$state/addresses.json" ] && [ -s "$state/secrets.key" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 60 ] || ! kill -0 "$process" 2>/dev/null; then
        cat "$work/log" >&2
        echo "the control plane did not start" >&2
        exit 1
    fi
    sleep 1
done
kill "$process"
wait "$process" || true
process=

tar -C "$state" -cf "$work/installation.tar" ca secrets.key operators/ca.crt
cp "$state/operators/admin.crt" "$state/operators/admin.key" "$state/operators/ca.crt" "$folder"
# Last: with it, all is done.
mv "$work/installation.tar" "$folder/installation.tar.new"
mv "$folder/installation.tar.new" "$folder/installation.tar"
echo "made $folder/installation.tar and the first operator, $folder/admin.crt" >&2
