# Runs the sandbox from outside: checks its requirements, creates its directory, and removes everything afterwards.
#
# $1 is the text of inside.sh. Standard input is a pipe that the owner holds open and never writes to: when it is
# closed, the sandbox ends. The report of inside.sh goes to standard output, errors to standard error.
set -eu

fail() {
    echo "$*" >&2
    exit 1
}

need() { # a program or file, and the package it is in
    [ -e "$1" ] || command -v "$1" >/dev/null ||
        fail "\`$1\` is missing (Debian package $2); run tests/sandbox/install-packages.sh"
}

need unshare util-linux
need nsenter util-linux
need setpriv util-linux
need mount mount
need systemctl systemd
need busctl systemd
need journalctl systemd
need /usr/lib/systemd/systemd systemd
need /usr/lib/systemd/systemd-journald systemd
need dbus-daemon dbus-daemon
need /usr/lib/systemd/user/dbus.socket dbus-user-session
[ -s /etc/machine-id ] || fail "/etc/machine-id is missing or empty; run systemd-machine-id-setup"

scope='' user=''
if [ "$(id -u)" != 0 ]; then
    user='--user --map-root-user'
    # A user may make cgroups only where some were delegated: a scope of the user's own manager is such a place.
    if [ -S "${XDG_RUNTIME_DIR:-}/systemd/private" ]; then
        scope='systemd-run --user --scope --quiet --collect --property=Delegate=yes'
    fi
fi

dir=$(mktemp --directory "${TMPDIR:-/tmp}/workerheal-sandbox.XXXXXX")
mkdir "$dir/home"
: >"$dir/cgroups"

clean() {
    while read -r cgroup; do
        find "$cgroup" -depth -type d -delete 2>/dev/null || true # the manager of a scope may be faster
    done <"$dir/cgroups"
    rm -rf "$dir"
}
trap clean EXIT

# shellcheck disable=SC2086 # the options are words
$scope unshare $user --mount --pid --fork --kill-child sh -c "$1" sandbox "$dir" "${user:+own}" ||
    fail "run the tests as root (in a container: a privileged one)," \
        "or as a user with a systemd session who may create namespaces"
