#!/bin/sh
# Serves one of several control planes on one store.
#
# What all have in common comes out of the file of installation.sh; the configuration is a
# template, in which @replica@ stands for the name of this one.
set -eu
umask 077
installation=${INSTALLATION:-/installation/installation.tar}
template=${CONFIG:-/etc/muster/control-plane.toml}
state=${STATE_DIR:-/var/lib/muster-control-plane}
replica=${REPLICA:?a name that no other replica has, as the name of the pod}

case $replica in
*[!A-Za-z0-9._-]*)
    echo "REPLICA is $replica; it must be letters, digits, '.', '_', '-'" >&2
    exit 1
    ;;
esac

# A folder that outlived its container keeps what it has: keys may have been rotated since.
if [ ! -e "$state/ca" ]; then
    # What a start that was killed half way has left.
    rm -rf "$state/unpacking" "$state/operators"
    mkdir "$state/unpacking"
    tar -C "$state/unpacking" -xf "$installation"
    mv "$state/unpacking/secrets.key" "$state/unpacking/operators" "$state"
    # Last: with it, all is there.
    mv "$state/unpacking/ca" "$state"
    rmdir "$state/unpacking"
fi

sed "s/@replica@/$replica/g" "$template" >"$state/control-plane.toml"
# Read-only pages for browsers, where it is asked for; the template has no section of them then.
if [ -n "${FLEET_CONSOLE:-}" ]; then
    printf '\n[fleet-console]\nlisten = "%s"\n' "$FLEET_CONSOLE" >>"$state/control-plane.toml"
fi
exec muster-control-plane serve --config "$state/control-plane.toml"
