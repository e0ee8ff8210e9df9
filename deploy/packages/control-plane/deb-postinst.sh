#!/bin/sh
# deb: files are there; "configure" with the version that was configured before, if any.
set -e
case $1 in
configure | abort-upgrade | abort-deconfigure | abort-remove) ;;
*) exit 0 ;;
esac

/usr/lib/muster/control-plane/helper set-up

unit=muster-control-plane.service
deb-systemd-helper unmask "$unit" >/dev/null || true
if deb-systemd-helper --quiet was-enabled "$unit"; then
    deb-systemd-helper enable "$unit" >/dev/null || true
else
    deb-systemd-helper update-state "$unit" >/dev/null || true
fi

if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || true
    [ -z "$2" ] || systemctl try-restart "$unit" || true
    # Its condition keeps it from starting before init has been run.
    deb-systemd-invoke start "$unit" >/dev/null || true
fi
