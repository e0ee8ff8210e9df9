#!/bin/sh
# deb: files are gone. "remove" keeps configuration, identity and state; "purge" keeps nothing.
set -e

units="muster-executor.socket muster-node-agent.service muster-upgrade-resume.service"
if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || true
fi

case $1 in
remove)
    if command -v deb-systemd-helper >/dev/null; then
        for unit in $units; do deb-systemd-helper mask "$unit" >/dev/null || true; done
    fi
    ;;
purge)
    if command -v deb-systemd-helper >/dev/null; then
        for unit in $units; do
            deb-systemd-helper purge "$unit" >/dev/null || true
            deb-systemd-helper unmask "$unit" >/dev/null || true
        done
    fi
    if [ -d /run/systemd/system ]; then
        # Scripts that were to outlive the agent, and extensions that it watched over.
        systemctl stop 'muster-command-*' 'muster-extension-*' || true
    fi
    rm -rf /var/lib/muster /run/muster /run/muster-scripts /opt/muster
    # What commands of the agent wrote beside the files that the package brought.
    rm -rf /etc/systemd/system/muster-node-agent.service.d
    rm -f /etc/muster/node-agent.toml* /etc/muster/locks.toml* /etc/muster/root.json
    # The control plane's configuration may be there, too.
    rmdir /etc/muster 2>/dev/null || true
    if getent passwd muster >/dev/null; then userdel muster >/dev/null 2>&1 || true; fi
    if getent group muster >/dev/null; then groupdel muster >/dev/null 2>&1 || true; fi
    if [ -d /run/systemd/system ]; then systemctl --system daemon-reload >/dev/null || true; fi
    ;;
esac
