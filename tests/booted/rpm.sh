#!/bin/sh
# What dnf does with the .rpm on a booted machine, see run.sh: dependencies, accounts, the system's service and a user's,
# a worker healed, an upgrade, removal. The machine is a Debian with its own rpm and dnf, since no distribution of rpm packages
# can be had where this runs; a package without files stands for what such a distribution has installed.
set -eu
. "$(dirname "$0")/steps.sh"

dnf_does() {
    said=$(dnf --assumeyes --releasever=1 "$@" 2>&1) || fail "dnf $*: $said"
}

cat >/root/machine.spec <<'END'
Name: machine
Version: 1
Release: 1
Summary: What the machine has without rpm
License: MIT
BuildArch: noarch
Provides: systemd /bin/sh
%description
%files
END
rpmbuild -bb --quiet --define '_topdir /root/machine' --define '_rpmdir /root' /root/machine.spec
refuses 'nothing provides systemd' dnf --assumeyes --releasever=1 install /root/workerheal.rpm
dnf_does install /root/noarch/machine-1-1.noarch.rpm
# No other dependency is left.
dnf_does install /root/workerheal.rpm
systemctl is-enabled --quiet workerheal && fail "it is enabled without being asked"
systemctl is-active --quiet workerheal && fail "it runs without being asked"
getent group workerheal-operators | grep -q ':workerheal$' || fail "the accounts are missing"
[ "$(rpm --query --queryformat '%{VERSION}' workerheal)" = "$(workerheal --version | cut -d ' ' -f 2)" ] ||
    fail "another version"
# What it has installed is what the package says: sizes, modes, owners and sums.
said=$(rpm --verify --nodeps workerheal) || fail "files differ from the package's: $said"
printf '[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/my-bot.service
systemctl daemon-reload
systemctl enable --quiet --now my-bot
workerheal --system init my-bot >/dev/null
printf 'heal: {stable_after: 1s, backoff: {initial: 500ms, max: 1s}}\n' >>/etc/workerheal/config.yaml
said=$(workerheal --system install)
says 'watching over 1 worker'
[ ! -e /etc/systemd/system/workerheal.service ] || fail "the packaged unit would have done"
systemctl kill --signal=KILL my-bot
wait_for "the worker to be healed" reported_at_least 1 healed my-bot
said=$(journalctl --quiet -x -t workerheal WORKERHEAL_PHASE=healed UNIT=my-bot.service)
says 'Subject: Worker my-bot was healed'

make_user dev
loginctl enable-linger dev
wait_for "the user's manager" as_user dev systemctl --user is-system-running
as_user dev workerheal install >/dev/null
user_pid() {
    as_user dev systemctl --user show --property=MainPID --value workerheal
}

# An upgrade restarts both daemons, and no worker; they stay enabled, and heal.
daemon=$(pid workerheal) users=$(user_pid) worker=$(pid my-bot)
dnf_does reinstall /root/workerheal.rpm
wait_for "the daemon to be restarted" systemctl is-active workerheal
[ "$(pid workerheal)" != "$daemon" ] || fail "it still runs the old program"
systemctl is-enabled --quiet workerheal || fail "the upgrade has disabled it"
is_new() { now=$(user_pid) && [ "$now" != 0 ] && [ "$now" != "$users" ]; }
wait_for "the user's daemon to be restarted" is_new
[ "$(pid my-bot)" = "$worker" ] || fail "the upgrade has restarted a worker"
systemctl kill --signal=KILL my-bot
wait_for "a failure after the upgrade to be healed" reported_at_least 2 healed my-bot

worker=$(pid my-bot)
dnf_does remove workerheal
systemctl is-active --quiet workerheal && fail "it still runs"
as_user dev systemctl --user is-active --quiet workerheal && fail "it still runs for a user"
[ "$(pid my-bot)" = "$worker" ] || fail "the removal has changed the worker"
[ ! -e /etc/polkit-1/rules.d/60-workerheal.rules ] || fail "its permission is left"
[ ! -e /usr/bin/workerheal ] && [ ! -e /usr/lib/systemd/system/workerheal.service ] || fail "files are left"
[ -e /etc/workerheal/config.yaml ] || fail "a removal keeps the configuration"
echo 'rpm: all is well'
