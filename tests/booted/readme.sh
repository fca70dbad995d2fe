#!/bin/sh
# From a bare machine to a healed worker in less than a minute, without Rust, by the lines of the README that is in the
# package: see run.sh. The machine needs a session bus for its user (dbus-user-session). Needs a .deb.
set -eu
. "$(dirname "$0")/steps.sh"

readme=$(dpkg-deb --fsys-tarfile /root/workerheal.deb |
    tar --extract --to-stdout --wildcards './usr/share/doc/workerheal/README.md*' | zcat -f)

line() { # the first line of an example that begins so, without its comment
    found=$(printf '%s\n' "$readme" | sed -n "s/ *#.*//; s/^    \($1.*\)/\1/p" | head -n 1)
    [ -n "$found" ] || fail "the README has no line \"$1\""
    echo "\$ $found"
}

run() { # the line just found, by the user dev
    said=$(as_user dev sh -c "$found" 2>&1) || fail "\"$found\" fails: $said"
    printf '%s\n' "$said"
}

# The machine as its user has it: a worker that runs, and an administrator who is root and says yes.
make_user dev
systemctl start "user@$(id -u dev).service"
wait_for "the user's manager" as_user dev systemctl --user is-system-running
mkdir -p /home/dev/.config/systemd/user
printf '[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=default.target\n' \
    >/home/dev/.config/systemd/user/my-bot.service
chown -R dev: /home/dev
as_user dev systemctl --user daemon-reload
as_user dev systemctl --user enable --quiet --now my-bot
rm -f /usr/sbin/policy-rc.d
printf 'APT::Get::Assume-Yes "true";\nAPT::Install-Recommends "false";\n' >/etc/apt/apt.conf.d/99readme
printf '#!/bin/sh\nexec "$@"\n' >/usr/local/bin/sudo
chmod 755 /usr/local/bin/sudo
line 'sudo apt install'
mv /root/workerheal.deb "/root/$(basename "$found")"

begun=$(date +%s)
said=$(cd /root && sh -c "$found" 2>&1) || fail "\"$found\" fails: $said"
systemctl is-active --quiet workerheal && fail "it runs without being asked"
line 'workerheal init my-bot' && run
line 'workerheal install' && run
says 'watching over 1 worker'
[ ! -e /home/dev/.config/systemd/user/workerheal.service ] || fail "the packaged unit would have done"
line 'systemctl --user kill --signal=KILL my-bot' && run
line 'workerheal events my-bot'
is_healed() { as_user dev sh -c "$found" | grep -q healed; }
wait_for "the worker to be healed, and that to be told" is_healed
run
took=$(($(date +%s) - begun))
[ $took -lt 60 ] || fail "it took $took s"
echo "readme: from nothing to a healed worker in $took s"
