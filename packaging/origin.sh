#!/bin/sh
# The address of the repository and its maintainer, which recipes and packages repeat: packaging/origin.sh [URL MAINTAINER]
#
# Cargo.toml has both, as `repository` and `authors`. Without arguments, prints where another file disagrees with it.
# With them, for example https://github.com/someone/workerheal 'Some One <someone@example.org>', changes all files.
set -eu

cd "$(dirname "$0")/.."
address=$(sed -n 's/^repository = "\(https.*\)"/\1/p' Cargo.toml)
maintainer=$(sed -n 's/^authors = \["\(.*\)"\]/\1/p' Cargo.toml)
# As a flake writes an address.
flake() { echo "$1" | sed 's|^https://github.com/|github:|'; }

usage() {
    echo "usage: packaging/origin.sh [https://github.com/OWNER/workerheal 'NAME <ADDRESS>']" >&2
    exit 2
}

replace() { # what, by what, in all files that have it
    # shellcheck disable=SC2016 # it is perl's
    git grep --files-with-matches --fixed-strings --null -e "$1" -- ':!CHANGELOG.md' |
        OLD=$1 NEW=$2 xargs --null --no-run-if-empty perl -pi -e 's/\Q$ENV{OLD}\E/$ENV{NEW}/g'
}

case $# in
0) ;;
2)
    echo "$1" | grep -qE '^https://github\.com/[A-Za-z0-9-]+/workerheal$' || usage
    echo "$2" | grep -qE '^[^<>@"&]+ <[^<> "&]+@[^<> "&]+>$' || usage
    replace "$address" "$1"
    replace "$(flake "$address")" "$(flake "$1")"
    replace "$maintainer" "$2"
    address=$1 maintainer=$2
    ;;
*) usage ;;
esac

names() { # a file, and what it has to name
    grep -qF -- "$2" "$1" || echo "$1 does not name $2"
}

for file in arch/PKGBUILD debian/control debian/copyright homebrew/workerheal.rb journald/workerheal.catalog \
    nix/package.nix rpm/workerheal.spec; do
    names packaging/$file "$address"
done
names packaging/nix/flake.nix "$(flake "$address")?"
for file in arch/PKGBUILD debian/control rpm/workerheal.spec; do names packaging/$file "$maintainer"; done
# No file names another repository of this name, or another maintainer.
git grep -nE 'https://[A-Za-z0-9.-]+/[A-Za-z0-9._-]+/workerheal' -- ':!packaging/origin.sh' ':!CHANGELOG.md' |
    grep -vE "${address}([^A-Za-z0-9_-]|\$)" || true
git grep -nE '^(# )?(Maintainer|Packager):' -- packaging | grep -vF "$maintainer" || true
