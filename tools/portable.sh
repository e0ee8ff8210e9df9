#!/bin/sh
# Installs what `make portable` needs below .tools/portable: zig as C compiler and linker, a
# Rust for arm64, qemu and Debian 11 to try what was built. 900 MB. CI has no time for these
# builds, so `make tools` leaves it out.
set -eu
cd "$(dirname "$0")/.."
tools=$PWD/.tools/portable

say() { printf 'tools: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

zig() {
    stamp=$(sha256sum <tools/portable.txt | cut -d' ' -f1)
    [ "$(cat "$tools/venv/stamp" 2>/dev/null || true)" = "$stamp" ] && return
    say "installing zig"
    rm -rf "$tools/venv"
    python3 -m venv "$tools/venv"
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps \
        --only-binary :all: -r tools/portable.txt
    echo "$stamp" >"$tools/venv/stamp"
}

# apt with lists of its own, so that this machine does not become one of two architectures.
apt() {
    apt-get -q -o Dir::State="$tools/apt" -o Dir::State::status="$tools/apt/status" -o Dir::Cache="$tools/apt/cache" \
        -o Dir::Etc::sourcelist="$tools/apt/sources.list" -o Dir::Etc::sourceparts=- \
        -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 -o APT::Sandbox::User=root "$@"
}

# The standard library for arm64 as Debian built it, and the compiler that belongs to it: no
# other would take it. Unpacked, not installed.
rust() {
    [ -e "$tools/rust/stamp" ] && return
    say "unpacking a Rust for arm64, and qemu"
    rm -rf "$tools/rust" "$tools/arm64" "$tools/apt"
    mkdir -p "$tools/rust" "$tools/arm64" "$tools/apt/lists/partial" "$tools/apt/cache/archives/partial" "$tools/apt/debs"
    : >"$tools/apt/status"
    by='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
    printf 'deb %s http://deb.debian.org/debian%s main\n' "$by" ' bookworm' "$by" '-security bookworm-security' >"$tools/apt/sources.list"
    apt update >"$tools/rust.log" 2>&1 || fail "Debian's lists cannot be had: see $tools/rust.log"
    (cd "$tools/apt/debs" && apt download rustc-web:amd64 libstd-rust-web-1.96:amd64 libllvm22:amd64 \
        libstd-rust-web-dev:amd64 libstd-rust-web-dev:arm64 qemu-user-static:amd64 libc6:arm64 libgcc-s1:arm64) >>"$tools/rust.log" 2>&1 ||
        fail "Debian's Rust cannot be had: see $tools/rust.log"
    for package in "$tools"/apt/debs/*.deb; do
        case ${package##*/} in
        libc6_* | libgcc-s1_*) dpkg-deb -x "$package" "$tools/arm64" ;;
        *) dpkg-deb -x "$package" "$tools/rust" ;;
        esac
    done
    rm -rf "$tools/apt"
    # It finds its own libraries, and whoever it calls does not find them.
    cat >"$tools/rust/rustc" <<'WRAPPER'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH=$here/usr/lib/x86_64-linux-gnu exec "$here/usr/bin/rustc" "$@"
WRAPPER
    chmod +x "$tools/rust/rustc"
    "$tools/rust/rustc" --version >"$tools/rust/stamp"
}

# A system with an old C library, to run what was built; it boots as the hosts of `make tools` do.
bullseye() {
    stamp=$(sed -n '/^bullseye() {/,/^}/p' tools/portable.sh | sha256sum | cut -d' ' -f1)
    [ "$(cat "$tools/bullseye.stamp" 2>/dev/null || true)" = "$stamp" ] && return
    [ "$(id -u)" = 0 ] || fail "Debian 11 needs root: run this as root once"
    say "making a file system of Debian 11"
    rm -rf "$tools/bullseye" "$tools/bullseye.new"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,iproute2,ca-certificates \
        bullseye "$tools/bullseye.new" >"$tools/bullseye.log" 2>&1 || fail "debootstrap failed: see $tools/bullseye.log"
    rm -rf "$tools/bullseye.new/var/cache/apt" "$tools/bullseye.new/var/lib/apt/lists"
    rm -f "$tools/bullseye.new/var/lib/dbus/machine-id" "$tools/bullseye.new/etc/machine-id"
    for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer; do
        ln -s /dev/null "$tools/bullseye.new/etc/systemd/system/$unit"
    done
    mv "$tools/bullseye.new" "$tools/bullseye"
    echo "$stamp" >"$tools/bullseye.stamp"
}

mkdir -p "$tools"
zig
rust
bullseye
