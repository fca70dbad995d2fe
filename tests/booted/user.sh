#!/bin/sh
# What the package does with a user's service on the booted machine, see run.sh: an upgrade with the daemon running,
# removal and purge. Needs a .deb.
set -eu
. "$(dirname "$0")/steps.sh"

as_dev() {
    as_user dev "$@"
}

pid_of() { # a unit of the user
    as_dev systemctl --user show --property=MainPID --value "$1"
}

healed() { # how often the user's daemon has told that my-bot was
    journalctl --quiet -t workerheal WORKERHEAL_PHASE=healed USER_UNIT=my-bot.service -o cat | wc -l
}

healed_at_least() {
    [ "$(healed)" -ge "$1" ]
}

is_new() { # the user's daemon
    now=$(pid_of workerheal)
    [ "$now" != 0 ] && [ "$now" != "$daemon" ]
}

answers() {
    as_dev workerheal status my-bot
}

make_user dev
loginctl enable-linger dev
wait_for "the user's manager" as_dev systemctl --user is-system-running
install_package || fail "apt does not install it"
mkdir -p /home/dev/.config/systemd/user
printf '[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=default.target\n' \
    >/home/dev/.config/systemd/user/my-bot.service
chown -R dev: /home/dev
as_dev systemctl --user daemon-reload
as_dev systemctl --user enable --quiet --now my-bot
as_dev workerheal init my-bot >/dev/null
printf 'heal: {stable_after: 1s, backoff: {initial: 500ms, max: 1s}}\n' >>/home/dev/.config/workerheal/config.yaml
said=$(as_dev workerheal install)
echo "$said"
says 'watching over 1 worker'
as_dev systemctl --user kill --signal=KILL my-bot
wait_for "the first failure to be healed" healed_at_least 1

# An upgrade restarts the user's daemon too, where Debian's tools can reach a user's manager (systemd 249 and later).
# A worker that dies meanwhile is healed, and one that lives is left alone.
printf '[Service]\nExecStart=sleep infinity\n' >/home/dev/.config/systemd/user/other.service
as_dev systemctl --user daemon-reload
as_dev systemctl --user start other
daemon=$(pid_of workerheal) other=$(pid_of other)
install_package --reinstall &
upgrade=$!
replaced() { [ "$(stat --format=%i /usr/bin/workerheal)" != "$inode" ]; }
inode=$(stat --format=%i "/proc/$daemon/exe" --dereference)
wait_for "the program to be replaced" replaced
as_dev systemctl --user kill --signal=KILL my-bot
wait "$upgrade" || fail "no upgrade"
wait_for "a failure during the upgrade to be healed" healed_at_least 2
reaches_users=$(systemctl --version | awk 'NR == 1 { print ($2 >= 249) }')
if [ "$reaches_users" = 1 ]; then
    wait_for "the user's daemon to be restarted" is_new
else
    # It goes on with the old program until its user installs the new one.
    [ "$(pid_of workerheal)" = "$daemon" ] || fail "the user's daemon was restarted"
    said=$(as_dev workerheal install)
    says 'restart'
    is_new || fail "the user's daemon still runs the old program"
fi
wait_for "the daemon to answer" answers
[ "$(pid_of other)" = "$other" ] || fail "the upgrade has restarted a worker"
as_dev systemctl --user is-enabled --quiet workerheal || fail "the upgrade has disabled it"
echo 'user: an upgrade misses no failure and restarts no worker'

[ "$reaches_users" = 1 ] || as_dev workerheal uninstall >/dev/null
worker=$(pid_of my-bot)
apt-get remove --quiet --quiet --yes workerheal >/dev/null 2>&1 || fail "no removal"
as_dev systemctl --user is-active --quiet workerheal && fail "it still runs"
[ "$(pid_of my-bot)" = "$worker" ] || fail "the removal has changed a worker"
apt-get purge --quiet --quiet --yes workerheal >/dev/null 2>&1 || fail "no purge"
[ ! -e /var/lib/workerheal ] && [ ! -e /usr/lib/systemd/user/workerheal.service ] || fail "a purge leaves nothing"
# What is in a home directory is its user's.
[ -e /home/dev/.config/workerheal/config.yaml ] || fail "the user's configuration is gone"
# The user can log in again: what is left of the enabled service does no harm.
systemctl restart "user@$(id -u dev).service"
wait_for "the user's manager" as_dev systemctl --user is-active my-bot
echo 'user: all is well'
