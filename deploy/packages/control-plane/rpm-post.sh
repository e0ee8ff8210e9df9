#!/bin/sh
# rpm: files are there. $1: how many versions of the package there are now.
/usr/lib/muster/control-plane/helper set-up || exit 1

[ "$1" -gt 1 ] || systemctl enable --quiet muster-control-plane.service || :
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    if [ "$1" -gt 1 ]; then
        systemctl try-restart muster-control-plane.service || :
    else
        # Its condition keeps it from starting before init has been run.
        systemctl start muster-control-plane.service || :
    fi
fi
