#!/bin/sh
# deb: files are about to go. Before an upgrade nothing is done: the agent runs until its
# successor is there.
set -e
case $1 in
remove | deconfigure) ;;
*) exit 0 ;;
esac

/usr/lib/muster/node-agent/helper leaving
# First: it would start again what is stopped.
/usr/lib/muster/node-agent/helper unwatch
if [ -d /run/systemd/system ]; then
    deb-systemd-invoke stop muster-node-agent.service muster-executor.socket >/dev/null || true
    systemctl stop muster-executor.service || true
fi
