#!/bin/sh
# rpm: files are gone. The fleet's authority and store in /var/lib/muster-control-plane stay.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
fi
