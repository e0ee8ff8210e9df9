#!/bin/sh
# Builds both programs so that they run with every C library since 2.28 (Debian 10, RHEL 8,
# Ubuntu 20.04), for x86_64 and aarch64, with zig as C compiler and linker; and tries them:
# no symbol is newer, the one for this machine runs on Debian 11, the one for arm64 in qemu.
#
# ARCHES    x86_64, aarch64 (both)
# PROGRAMS  node-agent, control-plane (both)
# PROFILE   release, or dev for a quick one
# into      target/portable/PROFILE/ARCH
set -eu
cd "$(dirname "$0")/../.."
tools=$PWD/.tools/portable
newest=2.28

say() { printf 'portable: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

ARCHES=${ARCHES:-x86_64 aarch64}
PROGRAMS=${PROGRAMS:-node-agent control-plane}
PROFILE=${PROFILE:-release}
export CARGO_INCREMENTAL=0

# What cargo calls the folder of a profile.
folder_of() { if [ "$1" = dev ]; then echo debug; else echo "$1"; fi; }

build() {
    target=$1-unknown-linux-gnu
    # A folder for each: they are built by different compilers.
    CARGO_TARGET_DIR=$PWD/target/portable/build-$1
    export CARGO_TARGET_DIR
    packages=
    features=
    for program in $PROGRAMS; do
        packages="$packages --package muster-$program"
        [ "$program" != control-plane ] || features="--features muster-control-plane/s3"
    done
    (
        PATH=$tools/venv/bin:$PATH
        # Debian's standard library for arm64 asks for the compiler that it came with.
        [ "$1" = x86_64 ] || export RUSTC="$tools/rust/rustc"
        # shellcheck disable=SC2086 # a list of words
        # With buckets: the chart's replicas have no other place for blobs.
        cargo-zigbuild zigbuild --target "$target.$newest" --profile "$PROFILE" $packages --bins $features
    )
    to=target/portable/$PROFILE/$1
    mkdir -p "$to"
    for program in $PROGRAMS; do
        cp "$CARGO_TARGET_DIR/$target/$(folder_of "$PROFILE")/muster-$program" "$to/"
    done
}

# The newest C library of which a program needs something.
glibc_of() {
    readelf --wide --version-info "$1" | grep -oE 'GLIBC_[0-9]+\.[0-9]+' | sort -uV | tail -n 1 | cut -d_ -f2
}

try() {
    program=target/portable/$PROFILE/$1/muster-$2
    needs=$(glibc_of "$program")
    [ "$(printf '%s\n%s\n' "$needs" "$newest" | sort -V | tail -n 1)" = "$newest" ] ||
        fail "$program needs C library $needs"
    if [ "$1" = x86_64 ]; then
        cp "$program" "$tools/bullseye/muster"
        said=$(chroot "$tools/bullseye" /muster version) || fail "$program does not run on Debian 11"
        rm "$tools/bullseye/muster"
    else
        said=$("$tools/rust/usr/bin/qemu-aarch64-static" -L "$tools/arm64" "$program" version) ||
            fail "$program does not run in qemu"
    fi
    say "$1: $said, C library $needs"
}

for arch in $ARCHES; do
    begun=$(date +%s)
    build "$arch"
    say "$arch was built in $((($(date +%s) - begun) / 60)) min"
    for program in $PROGRAMS; do try "$arch" "$program"; done
done
