#!/bin/sh
# The life of the package on the booted machine, see run.sh: install it for the system, heal the first failure, check
# permissions, upgrade, remove, purge.
set -eu

. "$(dirname "$0")/steps.sh"

may_not() { # the daemon's user, a call, a unit and a mode
    refuses 'Call failed: ' setpriv --reuid=workerheal --regid=workerheal --clear-groups busctl --system call \
        org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager "$@"
}

make_worker() { # name
    printf '[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=%s\n' "${2:-multi-user.target}"
}

install_package || fail "apt does not install it"
version=$(dpkg-query --show --showformat='${Version}' workerheal)
[ "$(workerheal --version)" = "workerheal $version" ] || fail "another version"
systemctl is-enabled --quiet workerheal && fail "it is enabled without being asked"
systemctl is-active --quiet workerheal && fail "it runs without being asked"
getent group workerheal-operators | grep -q ':workerheal$' || fail "the accounts are missing"

for name in my-bot other; do make_worker $name >/etc/systemd/system/$name.service; done
systemctl daemon-reload
systemctl enable --quiet --now my-bot other
workerheal --system init my-bot >/dev/null
printf 'heal: {stable_after: 1s, backoff: {initial: 500ms, max: 1s}}\n' >>/etc/workerheal/config.yaml
said=$(workerheal --system install)
echo "$said"
says 'watching over 1 worker'
[ ! -e /etc/systemd/system/workerheal.service ] || fail "the packaged unit would have done"
runs_as() { [ "$(ps -o user= -p "$(pid workerheal)")" = "$1" ] || fail "it does not run as $1"; }
runs_as workerheal
if ! has_rules; then
    # polkit is too old to permit some units only: it says so, and runs as root where it is told to.
    says 'there is no polkit 0.106 or later'
    [ ! -e /etc/polkit-1/rules.d ] || fail "nothing reads that rule"
    as_root_where_there_are_no_rules
    systemctl restart workerheal
    runs_as root
    said=$(workerheal --system doctor || true)
    says 'not needed: the daemon runs as root'
fi
said=$(systemd-analyze security workerheal | tail -n 1)
echo "package: $said"

other=$(pid other)
systemctl kill --signal=KILL my-bot
wait_for "the system's worker to be healed" reported_at_least 1 healed my-bot
journalctl --quiet -t workerheal UNIT=my-bot.service -o cat
said=$(journalctl --quiet -x -t workerheal WORKERHEAL_PHASE=healed UNIT=my-bot.service)
says 'Subject: Worker my-bot was healed'
says 'man:workerheal(1)'
said=$(workerheal --system logs my-bot)
says 'has stayed up'

if has_rules; then
    # It may start, stop and restart the units that it covers; no other units, and nothing else with these.
    may_not RestartUnit ss other.service replace
    may_not StopUnit ss other.service replace
    may_not RestartUnit ss my-bot.socket replace
    may_not StopUnit ss my-bot.socket replace
    may_not StartUnit ss other.socket replace
    may_not KillUnit ssi my-bot.service all 9
    may_not Reload
    may_not EnableUnitFiles asbb 1 my-bot.service false false
    [ "$(pid other)" = "$other" ] || fail "another unit was restarted"
fi
# The rule follows the configuration: the same unit, once it is watched.
workerheal --system init other >/dev/null
rule_follows() { ! has_rules || grep -q 'other' /etc/polkit-1/rules.d/60-workerheal.rules; }
wait_for "the rule to follow the configuration" rule_follows
watches() { workerheal --system status | grep -q other; }
wait_for "the daemon to follow it" watches
systemctl kill --signal=KILL other
wait_for "the other worker to be up again" systemctl is-active other

if has_rules; then
    # A missing permission is reported once, and costs no attempt; once it is granted, the worker is healed.
    systemctl stop workerheal-polkit.path
    rm /etc/polkit-1/rules.d/60-workerheal.rules
    systemctl restart polkit
    watch_starts
    systemctl kill --signal=KILL my-bot
    wait_for "the missing permission to be reported" reported_at_least 1 held my-bot
    said=$(journalctl --quiet -t workerheal WORKERHEAL_PHASE=held UNIT=my-bot.service -o cat)
    says 'no permission'
    wait_for "it to be tried again" starts_at_least 4 my-bot
    [ "$(told held my-bot)" = 1 ] || fail "it was told $(told held my-bot) times"
    said=$(workerheal --system status my-bot --json)
    says 'sudo workerheal --system install'
    said=$(workerheal --system doctor || true)
    says 'rules is missing, so the daemon has no permission'
    said=$(workerheal --system install)
    said=$(workerheal --system doctor || true)
    says 'permits what the configuration covers'
    wait_for "the worker to be healed once that is permitted" reported_at_least 2 healed my-bot
fi

# The permissions of groups.
for name in ann bob eve; do
    make_user $name
done
usermod --append --groups workerheal ann
usermod --append --groups workerheal-operators bob
said=$(as_user ann workerheal --system status)
says my-bot
refuses workerheal-operators as_user ann workerheal --system pause my-bot
refuses workerheal-operators as_user ann workerheal --system stop my-bot
said=$(as_user bob workerheal --system pause my-bot)
said=$(as_user bob workerheal --system resume my-bot)
said=$(as_user bob workerheal --system stop my-bot)
systemctl is-active --quiet my-bot && fail "the operator could not stop it"
said=$(as_user bob workerheal --system heal my-bot)
systemctl is-active --quiet my-bot || fail "the operator could not start it"
refuses 'may not ask it' as_user eve workerheal --system status

# An upgrade restarts the daemon, and no worker; a failure meanwhile is not missed.
before=$(pid workerheal)
worker=$(pid my-bot)
install_package --reinstall || fail "no upgrade"
wait_for "the daemon to be restarted" systemctl is-active workerheal
[ "$(pid workerheal)" != "$before" ] || fail "it still runs the old program"
[ "$(pid my-bot)" = "$worker" ] || fail "a worker was restarted by the upgrade"
systemctl kill --signal=KILL my-bot
systemctl try-restart workerheal
wait_for "a failure during a restart to be healed" systemctl is-active my-bot

apt-get remove --quiet --quiet --yes workerheal >/dev/null 2>&1 || fail "no removal"
systemctl is-active --quiet workerheal && fail "it still runs"
systemctl is-active --quiet my-bot || fail "the worker is gone with it"
[ ! -e /etc/polkit-1/rules.d/60-workerheal.rules ] || fail "its permission is left"
[ -e /etc/workerheal/config.yaml ] || fail "a removal keeps the configuration"
apt-get purge --quiet --quiet --yes workerheal >/dev/null 2>&1 || fail "no purge"
[ ! -e /etc/workerheal ] && [ ! -e /var/lib/workerheal ] || fail "a purge leaves nothing"
echo 'package: all is well'
