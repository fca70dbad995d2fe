#!/bin/sh
# Functions shared by the scripts on a booted machine. run.sh carries this file into the machine, beside the script.

fail() {
    echo "booted: $*" >&2
    journalctl --quiet -u workerheal -u workerheal-polkit --user-unit workerheal -n 30 >&2 || true
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
        LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin XDG_RUNTIME_DIR="/run/user/$(id -u "$name")" "$@"
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

pid() { # of a unit of the system
    systemctl show --property=MainPID --value "$1"
}

told() { # how many events of this phase the daemon for the system has told of a unit
    journalctl --quiet -t workerheal WORKERHEAL_PHASE="$1" UNIT="$2.service" -o cat | wc -l
}

reported_at_least() { # how many, of a phase and a unit
    [ "$(told "$2" "$3")" -ge "$1" ]
}

make_user() { # with a new home directory, and no other groups
    userdel --remove "$1" 2>/dev/null || true
    useradd --create-home "$1"
}

# That nothing more is told takes evidence of what the daemon does meanwhile: the calls of StartUnit that it has made.
watch_starts() {
    busctl --system monitor --match="type='method_call',member='StartUnit'" >/root/starts 2>&1 &
    wait_for "the monitor of the bus" grep -q Monitoring /root/starts
}

starts() { # how many there were for a unit since watch_starts
    grep -c "STRING \"$1.service\"" /root/starts
}

starts_at_least() {
    [ "$(starts "$2")" -ge "$1" ]
}

refreshes() { # how often the daemon for the system has looked at everything
    perl -MIO::Socket::UNIX -e '
        my $daemon = IO::Socket::UNIX->new(Peer => "/run/workerheal/api.sock") or die $!;
        print $daemon "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        print grep s/^workerheal_refresh_duration_seconds_count //, <$daemon>'
}

refreshed_beyond() { # a number
    [ "$(refreshes)" -gt "$1" ]
}

install_package() {
    # Images of containers have this, and with it no package restarts anything.
    rm -f /usr/sbin/policy-rc.d
    apt-get install --quiet --quiet --yes --no-install-recommends "$@" /root/workerheal.deb >/dev/null 2>&1
}

# Whether polkit knows rules. It does since 0.106; before, as on Debian 11, it could not tell one unit from another.
has_rules() {
    [ -e /usr/share/polkit-1/rules.d/50-default.rules ] || [ -d /etc/polkit-1/rules.d ]
}

as_root_where_there_are_no_rules() { # as the README says
    has_rules && return
    mkdir -p /etc/systemd/system/workerheal.service.d
    printf '[Service]\nUser=root\n' >/etc/systemd/system/workerheal.service.d/root.conf
    systemctl daemon-reload
}
