#!/bin/sh
# What a user of the booted machine does: see run.sh.
set -eu

fail() {
    echo "booted: $*" >&2
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

as_dev() { # as the user, in a fresh login
    setpriv --reuid=dev --regid=dev --init-groups -- env -i HOME=/home/dev USER=dev LOGNAME=dev LANG=C.UTF-8 \
        PATH=/usr/local/bin:/usr/bin:/bin XDG_RUNTIME_DIR=/run/user/$uid "$@"
}

says() { # a word that the last command has to have said
    case $said in
    *"$1"*) ;;
    *) fail "it does not say \"$1\": $said" ;;
    esac
}

userdel --remove dev 2>/dev/null || true
useradd --create-home dev
uid=$(id -u dev)
# A session without lingering, first.
systemctl start user@$uid.service
wait_for "the user's manager" as_dev systemctl --user is-system-running
mkdir -p /home/dev/.local/share/lerd /home/dev/.config/systemd/user /home/dev/myapp
printf 'sites:\n- {name: myapp, path: /home/dev/myapp}\n' >/home/dev/.local/share/lerd/sites.yaml
printf '[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=default.target\n' \
    >/home/dev/.config/systemd/user/lerd-queue-myapp.service
chown -R dev: /home/dev
as_dev systemctl --user daemon-reload
as_dev systemctl --user enable --now lerd-queue-myapp

said=$(as_dev workerheal install --dry-run)
says 'enable   workerheal, at each login'
as_dev systemctl --user is-active --quiet workerheal && fail "a dry run has started it"
said=$(as_dev workerheal install)
echo "$said"
says 'watching over 1 worker'
says 'loginctl enable-linger'
said=$(as_dev workerheal install)
says 'is installed already'

loginctl enable-linger dev
said=$(as_dev workerheal install)
case $said in *linger*) fail "it lingers already: $said" ;; esac

healed() {
    as_dev journalctl --user --quiet -u lerd-queue-myapp -o cat | grep -q 'stayed up'
}
as_dev systemctl --user kill --signal=KILL lerd-queue-myapp
wait_for "the worker to be healed, in the worker's own log, as its user may read it" healed
as_dev journalctl --user --quiet -u lerd-queue-myapp -o cat | tail -n 4

# After a restart of the user's manager (as after a reboot) it is there by itself.
systemctl restart user@$uid.service
wait_for "it to be up by itself" as_dev systemctl --user is-active --quiet workerheal

# A newer program takes the place of the older.
cp /usr/local/bin/workerheal /usr/local/bin/workerheal.new && mv /usr/local/bin/workerheal.new /usr/local/bin/workerheal
said=$(as_dev workerheal install)
says 'restart'

said=$(as_dev workerheal uninstall)
echo "$said"
says 'workerheal is gone'
as_dev systemctl --user is-active --quiet lerd-queue-myapp || fail "the worker is gone with it"
said=$(as_dev workerheal uninstall --purge)
[ ! -e /home/dev/.local/state/workerheal ] || fail "what it remembers is left"

# What an administrator has enabled for all users is not this user's to end.
mkdir -p /etc/systemd/user/default.target.wants
ln -s /usr/lib/systemd/user/workerheal.service /etc/systemd/user/default.target.wants
said=$(as_dev workerheal uninstall)
says 'systemctl --global disable workerheal'
echo 'booted: all is well'
