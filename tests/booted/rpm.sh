#!/bin/sh
# What the scripts of the .rpm do on a booted machine that has rpm, see run.sh: accounts, the system's service, a worker
# healed, removal. Debian's rpm stands in for a distribution of rpm packages here: dependencies and presets are not tried.
set -eu
. "$(dirname "$0")/steps.sh"

rpm_does() {
    said=$(rpm --force-debian --nodeps "$@" 2>&1) || fail "rpm $*: $said"
}

rpm_does --install /root/workerheal.rpm
systemctl is-active --quiet workerheal && fail "it runs without being asked"
getent group workerheal-operators | grep -q ':workerheal$' || fail "the accounts are missing"
printf '[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/my-bot.service
systemctl daemon-reload
systemctl enable --quiet --now my-bot
workerheal --system init my-bot >/dev/null
printf 'heal: {stable_after: 1s}\n' >>/etc/workerheal/config.yaml
said=$(workerheal --system install)
says 'watching over 1 worker'
[ ! -e /etc/systemd/system/workerheal.service ] || fail "the packaged unit would have done"
systemctl kill --signal=KILL my-bot
wait_for "the worker to be healed" told_at_least 1 healed my-bot
said=$(journalctl --quiet -x -t workerheal WORKERHEAL_PHASE=healed UNIT=my-bot.service)
says 'Subject: Worker my-bot was healed'

worker=$(pid my-bot)
rpm_does --erase workerheal
systemctl is-active --quiet workerheal && fail "it still runs"
[ "$(pid my-bot)" = "$worker" ] || fail "the removal has changed the worker"
[ ! -e /etc/polkit-1/rules.d/60-workerheal.rules ] || fail "its permission is left"
[ ! -e /usr/bin/workerheal ] && [ ! -e /usr/lib/systemd/system/workerheal.service ] || fail "files are left"
[ -e /etc/workerheal/config.yaml ] || fail "a removal keeps the configuration"
echo 'rpm: all is well'
