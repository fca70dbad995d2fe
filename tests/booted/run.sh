#!/bin/sh
# Installs workerheal as a user does, on a whole machine that has booted: a real systemd for a user who lingers, logind,
# and a persistent journal. It is a container made of this system, or of the one in a root directory, on a tmpfs, so
# that nothing remains.
#
# usage: run.sh [PROGRAM [ROOT [SCRIPT]]]    as root; needs systemd-nspawn (Debian package systemd-container)
#
# PROGRAM may be a .deb or .rpm too, which SCRIPT finds as /root/workerheal.deb or .rpm. SCRIPT, in this directory, is
# what happens on the machine: inside.sh, readme.sh, user.sh, package.sh, system.sh or rpm.sh; it finds steps.sh beside
# it. At the end the machine is powered off as by its administrator; where SCRIPT has left a script in /root/after.sh,
# that then judges what is left of the machine, from outside: its argument is the root directory.
set -eu

fail() {
    echo "booted: $*" >&2
    exit 1
}

program=$(readlink -f "${1:-target/debug/workerheal}")
case $program in
*.deb | *.rpm) [ -e "$program" ] || fail "there is no $program; make it first: make dist" ;;
*) [ -x "$program" ] || fail "there is no $program; build it first" ;;
esac
[ "$(id -u)" = 0 ] || fail "a container takes root"
command -v systemd-nspawn >/dev/null || fail "systemd-nspawn is missing (Debian package systemd-container)"
lower=$(readlink -f "${2:-/}")
script=${3:-inside.sh}
here=$(readlink -f "$(dirname "$0")")

if [ "${BOOTED_INSIDE:-}" = '' ]; then
    # Mounts are private, and gone with the last process.
    BOOTED_INSIDE=1 exec unshare --mount --pid --fork --mount-proc --kill-child "$0" "$program" "$lower" "$script"
fi

mount --make-rprivate /
base=$(mktemp --directory)
mount -t tmpfs -o mode=755 tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$base/upper,workdir=$base/work" "$base/root"
root=$base/root
rm -rf "$root/run" "$root/var/log/journal" "$root/var/lib/systemd/linger"
mkdir -p "$root/run" "$root/var/log/journal"
case $program in
*.deb | *.rpm)
    rm -f "$root/usr/local/bin/workerheal"
    install -m 644 "$program" "$root/root/workerheal.${program##*.}"
    ;;
*) install -m 755 "$program" "$root/usr/local/bin/workerheal" ;;
esac
install -m 755 "$here/$script" "$root/usr/local/bin/inside"
install -m 644 "$here/steps.sh" "$root/usr/local/bin/steps.sh"

# Releases since 2025 know no other hierarchy of cgroups.
SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --register=no --keep-unit --directory="$root" --boot \
    >"$base/console" 2>&1 </dev/null &
nspawn=$!
tries=0
leader=''
in_machine() {
    nsenter --target "$leader" --all -- "$@"
}
until [ -n "$leader" ] && state=$(in_machine systemctl is-system-running 2>/dev/null || true) &&
    { [ "$state" = running ] || [ "$state" = degraded ]; }; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || { tail -n 20 "$base/console" >&2; fail "the machine did not boot within a minute"; }
    leader=$(cat "/proc/$nspawn/task/$nspawn/children" 2>/dev/null | cut -d ' ' -f 1)
    sleep 0.1
done
echo "booted: $(in_machine systemctl --version | head -n 1)"
# As a service of the machine: what only enters its namespaces belongs to no unit, and logind refuses to serve that.
in_machine systemd-run --quiet --wait --pipe --property=IgnoreOnIsolate=yes /usr/local/bin/inside
in_machine systemctl poweroff
tries=0
while kill -0 "$nspawn" 2>/dev/null; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || fail "the machine did not power off within a minute"
    sleep 0.1
done
[ ! -e "$root/root/after.sh" ] || sh "$root/root/after.sh" "$root"
