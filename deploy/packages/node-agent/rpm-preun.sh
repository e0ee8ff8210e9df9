#!/bin/sh
# rpm: files are about to go. $1: how many versions stay; with 1 it is an upgrade, and the
# new one has restarted the agent already.
[ "$1" -eq 0 ] || exit 0

/usr/lib/muster/node-agent/helper leaving || :
# First: it would start again what is stopped.
/usr/lib/muster/node-agent/helper unwatch || :
systemctl disable --quiet muster-node-agent.service muster-executor.socket muster-upgrade-resume.service || :
if [ -d /run/systemd/system ]; then
    systemctl stop muster-node-agent.service muster-executor.socket muster-executor.service || :
fi
