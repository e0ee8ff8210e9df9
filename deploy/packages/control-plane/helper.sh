#!/bin/sh
# What the scripts of the deb and of the rpm have in common. May be called any number of times.
# usage: helper set-up
set -u
[ "${1:-}" = set-up ] || { echo "usage: $0 set-up" >&2; exit 2; }

# The user that the service has. Its state directory is made by init and handed over whole when
# the service starts first, so it must not be there before.
if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers muster-control-plane.conf
else
    getent group muster-control-plane >/dev/null || groupadd --system muster-control-plane
    getent passwd muster-control-plane >/dev/null || useradd --system --gid muster-control-plane \
        --no-create-home --home-dir /var/lib/muster-control-plane --shell /usr/sbin/nologin muster-control-plane
fi
install -d -m 0755 /etc/muster
