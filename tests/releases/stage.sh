#!/bin/sh
# Runs a program in another release's root directory, as root of a machine that has not booted: with a process tree,
# /proc, /sys, one cgroup hierarchy and /tmp of its own. Its files are on a tmpfs, and are lost when it ends.
#
# usage: stage.sh ROOT DIRECTORY PROGRAM [ARGUMENT...]    as root; inside, DIRECTORY is where it is outside
set -eu

if [ "${STAGE_INSIDE:-}" = '' ]; then
    # Mounts are private, and gone with the last process.
    STAGE_INSIDE=1 exec unshare --mount --pid --fork --mount-proc --kill-child "$0" "$@"
fi
lower=$(readlink -f "$1")
shown=$(readlink -f "$2")
shift 2

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o "lowerdir=$lower,upperdir=/mnt/upper,workdir=/mnt/work" /mnt/root
cd /mnt/root
mkdir -p outside ".$shown"
mount -t proc proc proc
mount -t sysfs sysfs sys
# Releases since 2025 know no other. What counts is whose cgroup a process is in: controllers may be elsewhere.
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mount --bind "$shown" ".$shown"
mount -t tmpfs tmpfs tmp
chmod 1777 tmp
# A chroot would not do: what enters a sandbox's mount namespace gets the root directory of that.
pivot_root . outside
cd /
# The shell stays as the first process and reaps orphans, which a test does not.
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root \
    RUST_TEST_THREADS="${RUST_TEST_THREADS:-4}" RUST_BACKTRACE="${RUST_BACKTRACE:-0}" \
    ${WORKERHEAL_SEED:+WORKERHEAL_SEED="$WORKERHEAL_SEED"} \
    sh -c 'umount --lazy /outside && "$@"; exit $?' stage "$@"
