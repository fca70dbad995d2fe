# The first process inside the sandbox's namespaces: prepares the file system, starts journald and the user manager, reports
# "ready PID HOME" on standard output (its own pid, as the host counts), and lives until standard input ends.
#
# $1 is the sandbox's directory. All processes inside die with this one: it is the namespace's init.
set -eu
exec 3<&0 # the shell gives its background processes another standard input
dir=$1
runtime=/run/user/0

fail() {
    echo "$*" >&2
    [ ! -s "$dir/log" ] || tail -n 5 "$dir/log" >&2
    exit 1
}

wait_for() { # a test that becomes true, and what it shows
    what=$1 tries=0
    shift
    until "$@" >/dev/null 2>>"$dir/log"; do
        tries=$((tries + 1))
        [ $tries -lt 3000 ] || fail "$what within 30 s"
        sleep 0.01
    done
}

read -r host_pid _ </proc/self/stat # from the host's /proc, so before there is one of our own

mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/system /run/systemd/journald.conf.d /run/log/journal /run/sandbox/empty $runtime
chmod 700 $runtime

# Of the host's user units only the bus and the plumbing: neither its services nor its generators, and no logs of its.
mkdir -p /run/sandbox/user/sockets.target.wants /run/sandbox/user/default.target.wants
(cd /usr/lib/systemd/user && cp -P ./*.target ./*.slice dbus.* systemd-exit.service /run/sandbox/user)
ln -s ../dbus.socket /run/sandbox/user/sockets.target.wants
ln -s ../dbus.service /run/sandbox/user/default.target.wants
mount --bind /run/sandbox/user /usr/lib/systemd/user
for path in /etc /etc/xdg /usr/local/lib /usr/local/share /usr/lib /usr/share; do
    for kind in user user-generators user-environment-generators; do
        [ "$path/$kind" = /usr/lib/user ] || [ ! -d $path/systemd/$kind ] ||
            mount --bind /run/sandbox/empty $path/systemd/$kind
    done
done
[ ! -d /var/log/journal ] || mount --bind /run/sandbox/empty /var/log/journal

cat >/run/systemd/journald.conf.d/zz-sandbox.conf <<'END'
[Journal]
Storage=volatile
RateLimitIntervalSec=0
ReadKMsg=no
Audit=
ForwardToSyslog=no
ForwardToKMsg=no
ForwardToConsole=no
ForwardToWall=no
END

# journald reads a unit's name from its cgroup path, below the place where the namespace's init is (less "/init.scope").
# So each sandbox looks like a machine of its own to it, wherever its cgroups are: for root at the top, for a user
# where they were delegated.
manager=user.slice/user-0.slice/user@0.service/init.scope
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
    [ -e $hierarchy/cgroup.procs ] || continue
    base=''
    [ "$2" != own ] || case $hierarchy in
    */systemd) base=$(sed -n 's|^[0-9]*:name=systemd:||p' /proc/self/cgroup) ;;
    *) base=$(sed -n 's|^0::||p' /proc/self/cgroup) ;;
    esac
    cgroup=$hierarchy${base%/}/${dir##*/}
    echo "$cgroup" >>"$dir/cgroups"
    mkdir "$cgroup"
    mkdir -p "$cgroup/init.scope" "$cgroup/$manager"
    echo 0 >"$cgroup/init.scope/cgroup.procs"
done
[ -s "$dir/cgroups" ] || fail "no cgroup hierarchy of systemd is mounted below /sys/fs/cgroup"

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
/usr/lib/systemd/systemd-journald >>"$dir/log" 2>&1 &
wait_for "journald did not start" test -S /run/systemd/journal/stdout
(
    while read -r cgroup; do
        echo 0 >"$cgroup/$manager/cgroup.procs"
    done <"$dir/cgroups"
    # Its log goes to the journal, like that of a real user@.service; its units get a user's plain environment.
    exec env -i PATH="$PATH" LANG=C.UTF-8 USER=root LOGNAME=root SHELL=/bin/sh HOME="$dir/home" \
        XDG_RUNTIME_DIR=$runtime /usr/lib/systemd/systemd --user --log-target=journal
) >>"$dir/log" 2>&1 &

export HOME="$dir/home" XDG_RUNTIME_DIR=$runtime
unset DBUS_SESSION_BUS_ADDRESS
wait_for "the user manager did not start" test -S $runtime/systemd/private
wait_for "the user manager did not get ready" systemctl --user is-system-running
wait_for "the user manager did not join its bus" busctl --user --timeout=1 status org.freedesktop.systemd1

echo "ready $host_pid $dir/home"
# While waiting, it also reaps orphans, as an init has to.
cat <&3 >/dev/null &
wait $!
