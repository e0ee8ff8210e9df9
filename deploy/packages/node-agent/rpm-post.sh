#!/bin/sh
# rpm: files are there. $1: how many versions of the package there are now.
/usr/lib/muster/node-agent/helper set-up || exit 1

[ "$1" -gt 1 ] || systemctl enable --quiet muster-executor.socket muster-node-agent.service muster-upgrade-resume.service || :
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    if [ "$1" -gt 1 ]; then
        /usr/lib/muster/node-agent/helper restart || :
    else
        systemctl start muster-executor.socket muster-node-agent.service || :
    fi
fi
