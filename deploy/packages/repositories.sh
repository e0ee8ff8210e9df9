#!/bin/sh
# Makes the signed repositories for apt, dnf and zypper out of packages, or adds packages to
# those that are there: all versions stay, so that a host can be given any of them. The
# repositories are plain files, for any web server.
#
# PACKAGES  folder with debs and rpms (target/packages)
# OUT       where to (target/repositories): apt/, rpm/x86_64/, rpm/aarch64/, muster.asc
# VALID_DAYS  how long the lists for apt hold; made again before, with the same packages (180)
# KEY       file with the secret OpenPGP key that signs, without passphrase; none: a key is
#           made and thrown away
set -eu
cd "$(dirname "$0")/../.."

say() { printf 'repositories: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

VALID_DAYS=${VALID_DAYS:-180}
PACKAGES=${PACKAGES:-target/packages}
OUT=${OUT:-target/repositories}
for program in gpg apt-ftparchive createrepo_c rpmsign; do
    command -v "$program" >/dev/null || fail "$program is missing: run make tools"
done
[ -n "$(find "$PACKAGES" -maxdepth 1 -name '*.deb' -o -maxdepth 1 -name '*.rpm')" ] ||
    fail "there are no packages in $PACKAGES: run make packages"

# Short, as the socket of gpg's agent is below it.
GNUPGHOME=$(mktemp -d /tmp/muster-key.XXXXXX)
# There is nobody to ask.
GPG_TTY=/dev/null
export GNUPGHOME GPG_TTY
end() {
    gpgconf --kill all 2>/dev/null || true
    rm -rf "$GNUPGHOME"
}
trap end EXIT
trap 'exit 1' INT TERM HUP

# Old rpms know no other kind of key than RSA.
take_key() {
    if [ -n "${KEY:-}" ]; then
        gpg --batch --quiet --import "$KEY" || fail "$KEY is no OpenPGP key that can be used"
    else
        say "WARNING: signing with a key that is made now and thrown away. Hosts that trust it take"
        say "nothing from a repository made later: give KEY=FILE for one that is to be used."
        gpg --batch --quiet --no-auto-check-trustdb --pinentry-mode loopback --passphrase "" \
            --quick-generate-key 'Muster test repository' rsa3072 sign never 2>/dev/null
    fi
    fingerprint=$(gpg --batch --quiet --no-auto-check-trustdb --list-secret-keys --with-colons | sed -n 's/^fpr:*\([0-9A-F]*\):/\1/p' | head -n 1)
    [ -n "$fingerprint" ] || fail "there is no secret key in $KEY"
    mkdir -p "$OUT"
    gpg --batch --armor --export "$fingerprint" >"$OUT/muster.asc"
}

sign() { gpg --batch --quiet --no-auto-check-trustdb --yes --local-user "$fingerprint" "$@"; }

# Lists are made aside and take the place of the ones before whole: who reads meanwhile gets the
# one or the other, each with its signature.
take_place() {
    rm -rf "$2.before"
    [ ! -e "$2" ] || mv "$2" "$2.before"
    mv "$1" "$2"
    rm -rf "$2.before"
}

apt_repository() {
    root=$OUT/apt
    mkdir -p "$root/pool"
    cp "$PACKAGES"/*.deb "$root/pool/"
    rm -rf "$root/dists.new"
    dist=$root/dists.new/stable
    for arch in amd64 arm64; do
        index=$dist/main/binary-$arch
        mkdir -p "$index"
        (cd "$root" && apt-ftparchive --arch "$arch" packages pool) >"$index/Packages"
        gzip -9nkf "$index/Packages"
    done
    (cd "$root" &&
        apt-ftparchive -o APT::FTPArchive::Release::ValidTime=$((VALID_DAYS * 86400)) -o APT::FTPArchive::Release::Origin=Muster \
            -o APT::FTPArchive::Release::Suite=stable -o APT::FTPArchive::Release::Codename=stable \
            -o APT::FTPArchive::Release::Components=main \
            -o APT::FTPArchive::Release::Architectures="amd64 arm64" release dists.new/stable) >"$GNUPGHOME/Release"
    cp "$GNUPGHOME/Release" "$dist/Release"
    sign --clearsign --output "$dist/InRelease" "$dist/Release"
    sign --armor --detach-sign --output "$dist/Release.gpg" "$dist/Release"
    take_place "$root/dists.new" "$root/dists"
    say "apt: $(find "$root/pool" -name '*.deb' | wc -l) packages"
}

rpm_repository() {
    for arch in x86_64 aarch64; do
        root=$OUT/rpm/$arch
        [ -n "$(find "$PACKAGES" -maxdepth 1 -name "*.$arch.rpm")" ] || continue
        mkdir -p "$root"
        for package in "$PACKAGES"/*."$arch".rpm; do
            cp "$package" "$root/"
            rpmsign --define "_gpg_name $fingerprint" --define "_gpg_path $GNUPGHOME" --define "__gpg $(command -v gpg)" \
                --addsign "$root/${package##*/}" >/dev/null
        done
        rm -rf "$root/.new"
        mkdir "$root/.new"
        createrepo_c --quiet --outputdir "$root/.new" "$root"
        lists=$root/.new/repodata
        sign --armor --detach-sign --output "$lists/repomd.xml.asc" "$lists/repomd.xml"
        cp "$OUT/muster.asc" "$lists/repomd.xml.key"
        take_place "$lists" "$root/repodata"
        rmdir "$root/.new"
        say "dnf and zypper, $arch: $(find "$root" -name '*.rpm' | wc -l) packages"
    done
}

take_key
[ -z "$(find "$PACKAGES" -maxdepth 1 -name '*.deb')" ] || apt_repository
rpm_repository
