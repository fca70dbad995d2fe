#!/bin/sh
# What an administrator and users of the booted machine do with the package, see run.sh: install it, see the first
# failure healed for a user and for the system, who may do what, upgrade, remove, purge.
set -eu

fail() {
    echo "package: $*" >&2
    journalctl --quiet -u workerheal -u workerheal-polkit -n 30 >&2 || true
    exit 1
}

wait_for() { # what, and a test that becomes true
    what=$1 tries=0
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || fail "waited in vain for $what"
        sleep 0.1
    done
}

as_user() { # whom, and a command: in a fresh login
    name=$1
    shift
    setpriv --reuid="$name" --regid="$name" --init-groups -- env -i HOME="/home/$name" USER="$name" LOGNAME="$name" \
        LANG=C.UTF-8 PATH=/usr/bin:/bin XDG_RUNTIME_DIR="/run/user/$(id -u "$name")" "$@"
}

says() { # a word that the last command has to have said
    case $said in
    *"$1"*) ;;
    *) fail "it does not say \"$1\": $said" ;;
    esac
}

refuses() { # a word, and a command that fails and says that
    word=$1
    shift
    if said=$("$@" 2>&1); then fail "it was not refused: $*"; fi
    says "$word"
}

may_not() { # the daemon's user, a call, a unit and a mode
    refuses 'Call failed: ' setpriv --reuid=workerheal --regid=workerheal --clear-groups busctl --system call \
        org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager "$@"
}

make_worker() { # name
    printf '[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=%s\n' "${2:-multi-user.target}"
}

pid() {
    systemctl show --property=MainPID --value "$1"
}

# Images of containers have this, and with it no package restarts anything.
rm -f /usr/sbin/policy-rc.d
begun=$(date +%s)
apt-get install --quiet --quiet --yes --no-install-recommends /root/workerheal.deb >/dev/null 2>&1 || fail "apt does not install it"
[ "$(workerheal --version)" = "workerheal $(dpkg-query --show --showformat='${Version}' workerheal)" ] || fail "another version"
systemctl is-enabled --quiet workerheal && fail "it is enabled without being asked"
systemctl is-active --quiet workerheal && fail "it runs without being asked"
getent group workerheal-operators | grep -q ':workerheal$' || fail "the accounts are missing"

# A user, with a worker of their own.
userdel --remove dev 2>/dev/null || true
useradd --create-home dev
uid=$(id -u dev)
systemctl start "user@$uid.service"
wait_for "the user's manager" as_user dev systemctl --user is-system-running
mkdir -p /home/dev/.config/systemd/user
make_worker my-bot default.target >/home/dev/.config/systemd/user/my-bot.service
chown -R dev: /home/dev
as_user dev systemctl --user daemon-reload
as_user dev systemctl --user enable --quiet --now my-bot
as_user dev workerheal init my-bot >/dev/null
said=$(as_user dev workerheal install)
says 'watching over 1 worker'
[ ! -e /home/dev/.config/systemd/user/workerheal.service ] || fail "the packaged unit would have done"
as_user dev systemctl --user kill --signal=KILL my-bot
# It is up again long before it counts as healed.
wait_for "the user's worker to be up again" as_user dev systemctl --user is-active my-bot
echo "package: from nothing to a healed worker in $(($(date +%s) - begun)) s"

# The system's, as the administrator.
for name in my-bot other; do make_worker $name >/etc/systemd/system/$name.service; done
systemctl daemon-reload
systemctl enable --quiet --now my-bot other
workerheal --system init my-bot >/dev/null
printf 'heal: {stable_after: 1s, backoff: {initial: 500ms, max: 1s}}\n' >>/etc/workerheal/config.yaml
said=$(workerheal --system install)
echo "$said"
says 'watching over 1 worker'
[ ! -e /etc/systemd/system/workerheal.service ] || fail "the packaged unit would have done"
[ "$(ps -o user= -p "$(pid workerheal)")" = workerheal ] || fail "it runs as $(ps -o user= -p "$(pid workerheal)")"
said=$(systemd-analyze security workerheal | tail -n 1)
echo "package: $said"

healed() { # how often, so far
    [ "$(journalctl --quiet -t workerheal WORKERHEAL_PHASE=healed UNIT=my-bot.service -o cat | wc -l)" -ge "$1" ]
}
other=$(pid other)
systemctl kill --signal=KILL my-bot
wait_for "the system's worker to be healed" healed 1
journalctl --quiet -t workerheal UNIT=my-bot.service -o cat
said=$(journalctl --quiet -x -t workerheal WORKERHEAL_PHASE=healed UNIT=my-bot.service)
says 'Subject: Worker my-bot was healed'
says 'man:workerheal(1)'
said=$(workerheal --system logs my-bot)
says 'has stayed up'

# What it covers it may start, stop and restart; nothing else, and nothing else with what it covers.
may_not RestartUnit ss other.service replace
may_not StopUnit ss other.service replace
may_not KillUnit ssi my-bot.service all 9
may_not Reload
may_not EnableUnitFiles asbb 1 my-bot.service false false
[ "$(pid other)" = "$other" ] || fail "another unit was restarted"
# In step with the configuration: the same unit, once it is watched.
workerheal --system init other >/dev/null
wait_for "the rule to follow the configuration" grep -q 'other' /etc/polkit-1/rules.d/60-workerheal.rules
watches() { workerheal --system status | grep -q other; }
wait_for "the daemon to follow it" watches
systemctl kill --signal=KILL other
wait_for "the other worker to be up again" systemctl is-active other

# A missing permission is told once, as what it is, and costs no attempt; once it is there, the worker is healed.
systemctl stop workerheal-polkit.path
rm /etc/polkit-1/rules.d/60-workerheal.rules
systemctl restart polkit
systemctl kill --signal=KILL my-bot
held() { journalctl --quiet -t workerheal WORKERHEAL_PHASE=held UNIT=my-bot.service -o cat | grep -q 'no permission'; }
wait_for "the missing permission to be told" held
sleep 3
told=$(journalctl --quiet -t workerheal WORKERHEAL_PHASE=held UNIT=my-bot.service -o cat | wc -l)
[ "$told" = 1 ] || fail "it was told $told times"
said=$(workerheal --system status my-bot --json)
says 'sudo workerheal --system install'
said=$(workerheal --system install)
wait_for "the worker to be healed once that is permitted" healed 2

# Who may do what.
for name in ann bob eve; do
    userdel --remove $name 2>/dev/null || true
    useradd --create-home $name
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
apt-get install --quiet --quiet --yes --reinstall --no-install-recommends /root/workerheal.deb >/dev/null 2>&1 || fail "no upgrade"
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
