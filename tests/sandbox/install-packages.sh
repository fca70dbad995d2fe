#!/bin/sh
# Installs the missing packages of packages.txt, and of the lists that are named as arguments.
set -eu

missing=''
for package in $(sed 's/#.*//' "$(dirname "$0")/packages.txt" "$@"); do
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0

fail() {
    echo "cannot install$missing: $*" >&2
    exit 1
}

command -v apt-get >/dev/null || fail "this is no Debian; install what provides them here"
if [ "$(id -u)" = 0 ]; then
    sudo=''
elif command -v sudo >/dev/null; then
    sudo=sudo
else
    fail "run this as root"
fi

$sudo apt-get update -qq || fail "apt-get update failed (see above)"
# shellcheck disable=SC2086 # the packages are words
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing ||
    fail "apt-get install failed (see above)"
