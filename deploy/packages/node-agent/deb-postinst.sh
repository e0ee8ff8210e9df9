#!/bin/sh
# deb: files are there; "configure" with the version that was configured before, if any.
set -e
case $1 in
configure | abort-upgrade | abort-deconfigure | abort-remove) ;;
*) exit 0 ;;
esac

/usr/lib/muster/node-agent/helper set-up

# deb-systemd-helper remembers what the administrator enabled or disabled.
for unit in muster-executor.socket muster-node-agent.service muster-upgrade-resume.service; do
    deb-systemd-helper unmask "$unit" >/dev/null || true
    if deb-systemd-helper --quiet was-enabled "$unit"; then
        deb-systemd-helper enable "$unit" >/dev/null || true
    else
        deb-systemd-helper update-state "$unit" >/dev/null || true
    fi
done

if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || true
    # Those that run are not touched by a start; one that is disabled is not started.
    [ -z "$2" ] || /usr/lib/muster/node-agent/helper restart
    deb-systemd-invoke start muster-executor.socket muster-node-agent.service >/dev/null || true
fi
