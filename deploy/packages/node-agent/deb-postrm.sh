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
    # /opt/muster is no part of the package: an agent in slots lives there, and has the same
    # state and user.
    if [ -L /opt/muster/current ]; then
        echo "an agent in slots is in /opt/muster: /var/lib/muster and the user muster stay for it" >&2
        exit 0
    fi
    if [ -d /run/systemd/system ]; then
        # Scripts that were to outlive the agent, and programs of extensions.
        systemctl stop 'muster-command-*' || true
    fi
    rm -rf /var/lib/muster /run/muster /run/muster-scripts
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
