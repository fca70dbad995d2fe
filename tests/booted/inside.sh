#!/bin/sh
# The acts of a user of the booted machine: see run.sh.
set -eu

. "$(dirname "$0")/steps.sh"

as_dev() {
    as_user dev "$@"
}

make_user dev
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

# A newer program replaces the older one.
cp /usr/local/bin/workerheal /usr/local/bin/workerheal.new && mv /usr/local/bin/workerheal.new /usr/local/bin/workerheal
said=$(as_dev workerheal install)
says 'restart'

said=$(as_dev workerheal uninstall)
echo "$said"
says 'workerheal is gone'
as_dev systemctl --user is-active --quiet lerd-queue-myapp || fail "the worker is gone with it"
said=$(as_dev workerheal uninstall --purge)
[ ! -e /home/dev/.local/state/workerheal ] || fail "what it remembers is left"

# A user cannot disable what an administrator has enabled for all users.
mkdir -p /etc/systemd/user/default.target.wants
ln -s /usr/lib/systemd/user/workerheal.service /etc/systemd/user/default.target.wants
said=$(as_dev workerheal uninstall)
says 'systemctl --global disable workerheal'
echo 'booted: all is well'
