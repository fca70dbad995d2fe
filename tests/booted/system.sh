#!/bin/sh
# The daemon for units of the system on a booted machine, see run.sh: units of every kind are healed, except those that
# the administrator, polkit or a shutdown forbids. Needs a .deb.
set -eu
. "$(dirname "$0")/steps.sh"

make_worker() { # its name, and more for [Unit] and [Service]; it may be started as often as this takes
    printf '[Unit]\nStartLimitIntervalSec=0\n%b\n[Service]\n%b\n[Install]\nWantedBy=multi-user.target\n' "$2" "$3" \
        >"/etc/systemd/system/$1.service"
}

crash() {
    systemctl kill --signal=KILL "$1"
}

is_healed() { # once more than before, after a crash
    healed=$(told healed "$1")
    crash "$1"
    wait_for "$1 to be healed" reported_at_least $((healed + 1)) healed "$1"
}

picture() { # what any start or stop of these would change
    systemctl show --property=Id,ActiveState,InvocationID "$@"
}

phase() { # what the daemon says of a worker
    workerheal --system status "$1" --json | sed -n 's/.*"phase": *"\([a-z-]*\)".*/\1/p'
}

is_in() { # a phase, and a worker
    [ "$(phase "$2")" = "$1" ]
}

make_user dev
install_package || fail "apt does not install it"
as_root_where_there_are_no_rules
lives='ExecStart=sleep infinity'
make_worker app-user '' "User=dev\nWorkingDirectory=/home/dev\n$lives"
make_worker app-slice '' "Slice=app-work.slice\n$lives"
make_worker app-tpl@ '' "$lives"
make_worker app-base '' "$lives"
make_worker app-mid 'Requires=app-base.service\nAfter=app-base.service' "$lives"
make_worker app-top 'Requires=app-mid.service\nAfter=app-mid.service' "$lives"
make_worker app-bound 'BindsTo=app-base.service\nAfter=app-base.service' "$lives"
fails="ExecStart=sh -c 'trap \"exit 1\" TERM; sleep infinity & systemd-notify --ready; wait'"
make_worker app-fails '' "Type=notify\nNotifyAccess=all\n$fails"
make_worker app-sock 'StartLimitIntervalSec=10s\nStartLimitBurst=3' \
    "ExecStart=sh -c 'test ! -e /root/broken && exec sleep infinity'"
printf '[Socket]\nListenStream=/run/app-sock\n[Install]\nWantedBy=sockets.target\n' >/etc/systemd/system/app-sock.socket
systemctl daemon-reload
workers='app-user app-slice app-tpl@one app-base app-mid app-top app-bound app-fails'
# shellcheck disable=SC2086 # names
systemctl enable --quiet --now $workers
systemctl enable --quiet --now app-sock.socket
workerheal --system init 'app-*' >/dev/null
cat >>/etc/workerheal/config.yaml <<END
refresh: 500ms
heal: {stable_after: 500ms, backoff: {initial: 500ms, max: 500ms, jitter: 0}, give_up_after: 0}
END
said=$(workerheal --system install) || fail "it is not installed: $said"

# Each alone, without any other.
for unit in app-user app-slice app-tpl@one app-mid app-top; do
    # shellcheck disable=SC2046 # names
    set -- $(printf '%s\n' $workers | grep -v "^$unit\$")
    before=$(picture "$@")
    is_healed "$unit"
    [ "$(picture "$@")" = "$before" ] || fail "healing $unit has changed another: $(picture "$@")"
done
[ "$(ps -o user= -p "$(pid app-user)")" = dev ] || fail "app-user is not its user's"
[ "$(systemctl show --property=ControlGroup --value app-slice)" = /app.slice/app-work.slice/app-slice.service ] ||
    fail "app-slice is in $(systemctl show --property=ControlGroup --value app-slice)"
# Units that are bound to it go down and come back with it; units that only require it continue to run.
before=$(picture app-mid app-top)
bound=$(pid app-bound)
is_healed app-base
came_back() { systemctl is-active app-bound && [ "$(pid app-bound)" != "$bound" ]; }
wait_for "what is bound to it to come back" came_back
[ "$(picture app-mid app-top)" = "$before" ] || fail "healing app-base has changed what requires it"
echo 'system: users, slices, templates, chains of units: each healed by itself'

# A socket that systemd has given up, with its worker.
touch /root/broken
# shellcheck disable=SC2016 # it is perl's
perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Peer => "/run/app-sock") or die $!'
wait_for "the socket to fail" systemctl is-failed app-sock.socket
rm /root/broken
wait_for "the socket to listen again" systemctl is-active app-sock.socket
echo 'system: a socket and its worker healed'

# A unit that its administrator stops stays down, and so do the units that require it.
systemctl stop app-base
wait_for "the stop to be seen" is_in stopped app-base
before=$(picture app-base app-mid app-top app-bound)
is_healed app-user
is_healed app-user
[ "$(picture app-base app-mid app-top app-bound)" = "$before" ] || fail "a stop was not obeyed"
systemctl start app-top app-bound
is_healed app-top
echo 'system: a stop of what others require is obeyed'

# Restarts of what runs, as needrestart and the scripts of packages make them, with the daemon among it; a new manager.
for verb in try-restart restart; do
    # shellcheck disable=SC2086 # names
    systemctl $verb $workers workerheal
done
systemctl daemon-reexec
is_healed app-user
systemctl daemon-reload
[ "$(told detected app-fails)" = 0 ] || fail "a restart was taken for a crash"
is_healed app-fails
echo 'system: restarts of all services, of the daemon and of the manager are no crash'

# Isolates a target that includes the daemon, but no worker.
cat >/etc/systemd/system/only.target <<END
[Unit]
AllowIsolate=yes
Requires=basic.target
Wants=workerheal.service dbus.service polkit.service systemd-logind.service
END
make_worker app-slow 'After=app-user.service' "$lives\nExecStop=sh -c 'until test -e /root/go; do sleep 0.1; done'"
systemctl daemon-reload
systemctl start app-slow
count=$(told starting app-user)
systemctl --no-block isolate only.target
stopping() { [ "$(systemctl is-active app-slow)" = deactivating ]; }
wait_for "the isolation to be under way" stopping
crash app-user
wait_for "the crash" systemctl is-failed app-user
seen=$(refreshes)
wait_for "the daemon to have looked at it" refreshed_beyond $((seen + 4))
touch /root/go
gone() { [ -z "$(systemctl list-jobs --no-legend)" ] && ! systemctl is-active --quiet app-slow; }
wait_for "the isolation to be over" gone
systemctl is-active --quiet workerheal || fail "the daemon is gone too"
[ "$(told starting app-user)" = "$count" ] || fail "it was started into the isolation"
for unit in $workers; do
    systemctl is-active --quiet "$unit" && fail "$unit was started after it was isolated from"
done
echo 'system: nothing is started while a target is isolated'
# shellcheck disable=SC2086 # names
systemctl start multi-user.target $workers
is_healed app-user

if has_rules; then
    # Its administrator refuses. That is reported once, and costs no attempt; once permitted, the worker is healed.
    refusal=/etc/polkit-1/rules.d/10-refusal.rules
    printf '%s\n' 'polkit.addRule(function (action, subject) {' \
        '    if (subject.user === "workerheal") { return polkit.Result.NO; }' '});' >$refusal
    chmod 644 $refusal
    systemctl restart polkit
    held=$(told held app-user) healed=$(told healed app-user)
    watch_starts
    crash app-user
    wait_for "the refusal to be reported" reported_at_least $((held + 1)) held app-user
    wait_for "it to be tried again" starts_at_least 4 app-user
    [ "$(told held app-user)" = $((held + 1)) ] || fail "the refusal was told more than once"
    said=$(workerheal --system status app-user --json)
    says 'no permission'
    systemctl is-failed --quiet app-user || fail "it was started without permission"
    rm $refusal
    systemctl restart polkit
    wait_for "it to be healed once that is permitted" reported_at_least $((healed + 1)) healed app-user
    echo 'system: a refusal is told once, and obeyed'

    # Without polkit only root may start anything; as root the daemon needs no permission.
    apt-get remove --quiet --quiet --yes polkitd >/dev/null 2>&1 || fail "polkit is not removed"
    held=$(told held app-slice)
    crash app-slice
    wait_for "the missing permission to be reported" reported_at_least $((held + 1)) held app-slice
    systemctl is-failed --quiet app-slice || fail "it was started without permission"
    mkdir -p /etc/systemd/system/workerheal.service.d
    printf '[Service]\nUser=root\n' >/etc/systemd/system/workerheal.service.d/root.conf
    systemctl daemon-reload
    systemctl restart workerheal
    wait_for "it to be healed by root" systemctl is-active app-slice
    is_healed app-slice
    # Of what other programs log about a unit, only root's is among its own lines.
    said=$(journalctl --quiet -u app-slice -o cat)
    says 'has stayed up'
    echo 'system: without polkit as without permission; as root without any'
fi

# The machine goes down, in the middle of an upgrade: see the end of run.sh. A worker dies while another, which is
# stopped before the daemon, takes its time, and a package's script restarts the daemon.
make_worker app-dies '' "$lives"
make_worker app-late 'After=workerheal.service app-dies.service' "$lives\nExecStop=sh /root/late.sh\nTimeoutStopSec=50s"
cat >/root/late.sh <<'END'
. /usr/local/bin/steps.sh
systemctl kill --signal=KILL app-dies
wait_for "the crash" systemctl is-failed app-dies
systemctl try-restart workerheal
seen=$(refreshes)
wait_for "the daemon to have looked at it" refreshed_beyond $((seen + 4))
touch /root/was-late
END
cat >/root/after.sh <<'END'
[ -e "$1/root/was-late" ] || { echo 'system: the way down was not seen' >&2; exit 1; }
mount --bind /proc "$1/proc"
started=$(chroot "$1" journalctl --quiet --directory=/var/log/journal -t workerheal WORKERHEAL_PHASE=starting \
    UNIT=app-dies.service -o cat | wc -l)
[ "$started" = "$(cat "$1/root/started")" ] || { echo 'system: a worker was started on the way down' >&2; exit 1; }
echo 'system: nothing is started on the way down'
END
systemctl daemon-reload
systemctl start app-dies app-late
is_healed app-dies
told starting app-dies >/root/started
echo 'system: all is well'
