#!/bin/sh
# deb: files are gone. Neither "remove" nor "purge" touches /var/lib/muster-control-plane: the
# authority of a fleet is there, and no package manager should be able to lose it.
set -e

unit=muster-control-plane.service
if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || true
fi

case $1 in
remove)
    if command -v deb-systemd-helper >/dev/null; then deb-systemd-helper mask "$unit" >/dev/null || true; fi
    ;;
purge)
    if command -v deb-systemd-helper >/dev/null; then
        deb-systemd-helper purge "$unit" >/dev/null || true
        deb-systemd-helper unmask "$unit" >/dev/null || true
    fi
    if [ -d /var/lib/muster-control-plane ]; then
        echo "the fleet's authority and store stay: delete /var/lib/muster-control-plane and" >&2
        echo "/etc/muster/control-plane.toml yourself when nobody needs them any more" >&2
    else
        rm -f /etc/muster/control-plane.toml
        rmdir /etc/muster 2>/dev/null || true
        if getent passwd muster-control-plane >/dev/null; then userdel muster-control-plane >/dev/null 2>&1 || true; fi
        if getent group muster-control-plane >/dev/null; then groupdel muster-control-plane >/dev/null 2>&1 || true; fi
    fi
    ;;
esac
