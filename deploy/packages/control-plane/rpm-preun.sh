#!/bin/sh
# rpm: files are about to go. $1: how many versions stay; with 1 it is an upgrade.
[ "$1" -eq 0 ] || exit 0

systemctl disable --quiet muster-control-plane.service || :
if [ -d /run/systemd/system ]; then
    systemctl stop muster-control-plane.service || :
fi
