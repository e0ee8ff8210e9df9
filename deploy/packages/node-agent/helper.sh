#!/bin/sh
# What the scripts of the deb and of the rpm have in common. It belongs to the package: it is
# there after files have come and before they go. May be called any number of times.
# usage: helper set-up | restart | leaving | unwatch
set -u

agent=/usr/bin/muster-node-agent
# One folder for each.
extensions=/var/lib/muster/executor/extensions

has_systemd() { [ -d /run/systemd/system ]; }

# The user of the half without rights, and the folders of both.
set_up() {
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers muster.conf
    else
        getent group muster >/dev/null || groupadd --system muster
        getent passwd muster >/dev/null || useradd --system --gid muster --no-create-home \
            --home-dir /var/lib/muster/node-agent --shell /usr/sbin/nologin muster
    fi
    systemd-tmpfiles --create muster.conf
}

# After an upgrade: of the two halves none may be older than the other. What they started are
# units of their own and goes on. That a new agent does not come up must not fail the package
# manager: what then goes back to the old one needs it.
restart() {
    has_systemd || return 0
    systemctl stop muster-executor.service
    systemctl try-restart muster-node-agent.service || echo "muster-node-agent did not come up: see journalctl -u muster-node-agent" >&2
}

# Nobody watches over an upgrade of what is removed: what was pending would come back with it.
# An agent in slots has the same folder, and is not removed.
unwatch() {
    [ ! -L /opt/muster/current ] || return 0
    if has_systemd; then systemctl stop muster-upgrade.service muster-upgrade-resume.service || true; fi
    rm -rf /var/lib/muster/upgrade/pending.json /var/lib/muster/upgrade/packages
}

# Somebody removes the package: what is not undone by that.
leaving() {
    # Not ls: hidden files are no extensions, and names may be anything.
    for folder in "$extensions"/*/; do
        [ -d "$folder" ] || continue
        name=${folder%/}
        echo "warning: the extension ${name##*/} stays on this host and nothing looks after it any more." >&2
        echo "         To remove it: install muster-node-agent again, then muster-node-agent extension remove ${name##*/}" >&2
    done
    if [ "$("$agent" show connected 2>/dev/null)" = true ]; then
        echo "warning: this host is still in its fleet, where it will be seen as offline." >&2
        echo "         To take it out: install muster-node-agent again, then muster-node-agent disconnect" >&2
    fi
    return 0
}

case ${1:-} in
set-up) set_up ;;
restart) restart ;;
leaving) leaving ;;
unwatch) unwatch ;;
*)
    echo "usage: $0 set-up | restart | leaving | unwatch" >&2
    exit 2
    ;;
esac
