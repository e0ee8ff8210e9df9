#!/bin/sh
# Boots a host from BASE, one folder or several with a colon between them, with what it
# writes below FOLDER, and boots it again whenever it reboots itself. Ends, with everything
# that runs in the host, when its standard input ends: so it does not outlive a test that
# was killed. Runs in a mount namespace of its own, so that its mounts end with it.
# usage: boot.sh BASE FOLDER NAME NETWORK-NAMESPACE [OPTION-OF-SYSTEMD-NSPAWN...]
set -eu
base=$1 folder=$2 name=$3 network=$4
shift 4

# The version 1 hierarchies have the controllers here; with a group of its own in each,
# a host sees nothing of its neighbours.
groups() {
    for hierarchy in /sys/fs/cgroup/*; do
        [ -h "$hierarchy" ] || [ ! -e "$hierarchy/cgroup.procs" ] || echo "$hierarchy/$name"
    done
}

make_groups() {
    for group in $(groups); do
        mkdir -p "$group"
        if [ -e "$group/cpuset.cpus" ]; then
            cat "${group%/*}/cpuset.cpus" >"$group/cpuset.cpus"
            cat "${group%/*}/cpuset.mems" >"$group/cpuset.mems"
        fi
    done
}

enter_groups() {
    for group in $(groups); do
        echo 0 >"$group/cgroup.procs" || return 1
    done
}

# A process may take a moment to end, and start others until then.
remove_groups() {
    for group in $(groups); do
        until [ ! -d "$group" ]; do
            find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null | while read -r process; do
                kill -KILL "$process" 2>/dev/null || true
            done
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05
        done
    done
}

# systemd-nspawn mounts the controllers for reading only: limits of units would be accepted
# and hold nothing.
init='for controller in memory pids cpu cpuacct blkio; do
    mount -o remount,bind,rw /sys/fs/cgroup/$controller
done
exec /lib/systemd/systemd'

# A host that reboots makes systemd-nspawn end with 133.
run() {
    code=133 # "$@": more options of systemd-nspawn
    while [ "$code" = 133 ] && [ ! -e "$folder/ending" ]; do
        code=0
        (
            enter_groups || exit 1 # it is about to end
            echo "$(exec sh -c 'echo $PPID')" >"$folder/supervisor"
            SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=0 exec systemd-nspawn --quiet --directory "$folder/root" --machine "$name" \
                --register=no --keep-unit --network-namespace-path="/run/netns/$network" --console=read-only \
                --kill-signal=SIGRTMIN+3 "$@" /bin/sh -c "$init"
        ) || code=$?
    done
}

rm -f "$folder/ending"
mkdir -p "$folder/upper" "$folder/work" "$folder/root"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
if [ ! -e "$folder/upper/etc/hostname" ]; then
    echo "$name" >"$folder/root/etc/hostname"
    # Each host makes a machine id of its own.
    rm -f "$folder/root/etc/machine-id" && : >"$folder/root/etc/machine-id"
    # With groups of version 1 systemd may not see that a unit is empty, and wait this long.
    mkdir -p "$folder/root/etc/systemd/system.conf.d"
    printf '[Manager]\nDefaultTimeoutStopSec=5s\n' >"$folder/root/etc/systemd/system.conf.d/test.conf"
fi
make_groups
run "$@" </dev/null &
trap 'touch "$folder/ending"; remove_groups; wait' EXIT
cat >/dev/null
