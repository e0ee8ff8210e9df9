#!/bin/sh
# deb: files are about to go. Before an upgrade nothing is done.
set -e
case $1 in
remove | deconfigure) ;;
*) exit 0 ;;
esac

if [ -d /run/systemd/system ]; then
    deb-systemd-invoke stop muster-control-plane.service >/dev/null || true
fi
