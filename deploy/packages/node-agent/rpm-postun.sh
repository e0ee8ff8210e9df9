#!/bin/sh
# rpm: files are gone; configuration that was edited is *.rpmsave now. rpm has no purge: state
# and user stay, as they do with other rpms.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
fi
[ "$1" -gt 0 ] || echo "the state of muster-node-agent stays in /etc/muster and /var/lib/muster"
