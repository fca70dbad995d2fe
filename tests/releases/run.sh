#!/bin/sh
# Runs workerheal on other releases of Debian, each with its own systemd: installs it as a user does on the booted
# release (tests/booted), and has the release's service manager play the situations that were reported of real machines,
# the cases that hold on every manager, and the model of the simulation. Prints a table, and fails if anything failed.
#
# usage: run.sh TARGET [RELEASE...]    as root; TARGET is cargo's target directory
#
# Where `make dist` has left a .deb in TARGET/dist, that is installed too, and works as the system's service
# (tests/booted/readme.sh, user.sh, package.sh and system.sh); on Debian 11, whose polkit knows no rules, as root.
#
# Root directories and the logs of the runs are kept in TARGET/releases: remove a root to have a new one made.
# RELEASES_DEADLINE: seconds after which a set of tests has failed. WORKERHEAL_SEED repeats a run of the model.
set -eu

# Linked statically: a program that is built on a release does not start on an older one.
triple=x86_64-unknown-linux-musl
mirror=http://deb.debian.org/debian
# What the sandbox needs of tests/sandbox/packages.txt, and what makes it a machine that a user can log in to.
packages=ca-certificates,dbus,dbus-user-session,libpam-systemd,mount,procps,strace,systemd-sysv,util-linux
deadline=${RELEASES_DEADLINE:-600}

fail() {
    echo "releases: $*" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || fail "booting a machine takes root"
[ $# -gt 0 ] || fail "usage: run.sh TARGET [RELEASE...]"
here=$(readlink -f "$(dirname "$0")")
mkdir -p "$1/releases"
target=$(readlink -f "$1")
kept=$target/releases
shift
[ $# -gt 0 ] || set -- bullseye bookworm trixie forky

# One of the libraries that the tests use has a function in C, which uses no C library: any compiler will do.
export CC_x86_64_unknown_linux_musl=cc CARGO_PROFILE_DEV_DEBUG=line-tables-only
cd "$here/../.."
rustup target add --toolchain "$(rustc --version | cut -d ' ' -f 2)" $triple >/dev/null 2>&1 ||
    rustup target add $triple || fail "Rust's library for $triple cannot be had"
cargo test --locked --target $triple --target-dir "$target" --package workerheal --no-run --message-format=json \
    --test it >"$kept/build.json"

binary() { # the newest of a test's programs
    sed -n 's/.*"executable":"\([^"]*\/'"$1"'-[0-9a-f]*\)".*/\1/p' "$kept/build.json"
}

make_root() {
    root=$kept/$1
    [ ! -e "$root/etc/machine-id" ] || return 0
    echo "releases: debootstrap of $1, once" >&2
    rm -rf "$root" "$root.new"
    # All releases since 2011 are made by one script, and an older debootstrap does not know the newer ones by name.
    debootstrap --variant=minbase --include=$packages "$1" "$root.new" $mirror \
        /usr/share/debootstrap/scripts/sid >"$root.log" 2>&1 ||
        fail "debootstrap of $1 failed: $root.log"
    [ -s "$root.new/etc/machine-id" ] || systemd-machine-id-setup --root="$root.new" >>"$root.log" 2>&1
    mv "$root.new" "$root"
}

needs_polkit() { # in a root that was made before the package was tried there; a mirror may be of some weeks ago
    name=polkitd
    [ "$1" != bullseye ] || name=policykit-1
    [ -e "$kept/$1/usr/share/polkit-1" ] || chroot "$kept/$1" sh -c 'apt-get -o Acquire::Check-Valid-Until=false update &&
        apt-get install --yes --no-install-recommends "$0"' $name >>"$kept/$1.log" 2>&1 ||
        fail "polkit cannot be had in $1: $kept/$1.log"
}

run() { # a name for the log, and a command
    name=$1
    log=$kept/$release.$name.log
    shift
    # unshare takes no notice of a milder signal; with it goes all that it has started.
    if timeout --signal=KILL "$deadline" "$@" >"$log" 2>&1 </dev/null; then
        ok=$(sed -n 's/^test result: ok. \([0-9]*\) passed.*/\1 passed/p' "$log")
        result=${ok:-ok}
        return
    fi
    # The model is of 252, and other releases do some things in another way: that is shown, and is no failure.
    if [ "$name" = agreement ] && [ "${systemd%%[.-]*}" != 252 ]; then
        result=$(sed -n 's/^model and manager differ in \([0-9]*\) units$/differs (\1 units)/p' "$log")
        [ -z "$result" ] || return 0
    fi
    failed=$(grep -c '^test .* FAILED$' "$log" || true)
    result="FAILED ($failed)"
    grep -E '^test .* (FAILED|has been running.*)$' "$log" >&2 || tail -n 5 "$log" >&2
    status=1
}

status=0
package=$(find "$target/dist" -name 'workerheal_*_amd64.deb' 2>/dev/null || true)
table='| release | systemd | install | readme | user | package | system | reports | cases | agreement |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |'
for release in "$@"; do
    make_root "$release"
    systemd=$(chroot "$kept/$release" systemctl --version | sed -n '1s/.*(\(.*\))/\1/p')
    row="| $release | $systemd"
    echo "releases: $release, systemd $systemd" >&2
    run install tests/booted/run.sh "$target/$triple/debug/workerheal" "$kept/$release"
    row="$row | $result"
    result=-
    if [ -n "$package" ]; then
        needs_polkit "$release"
    fi
    for script in readme user package system; do
        result=-
        [ -z "$package" ] || run $script tests/booted/run.sh "$package" "$kept/$release" $script.sh
        row="$row | $result"
    done
    for test in reports shared agreement; do
        run $test "$here/stage.sh" "$kept/$release" "$target/$triple/debug" "$(binary it)" $test::
        row="$row | $result"
    done
    table="$table
$row |"
done
echo "$table"
exit $status
