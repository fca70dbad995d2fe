#!/bin/sh
# Fetches axe-core, which checks the accessibility of a page, into the given directory, unless it is there already. No
# Debian package has it.
set -eu

version=4.14.1
archive=e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745
script=29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c
url=https://registry.npmjs.org/axe-core/-/axe-core-$version.tgz
file=$1/axe-core-$version.min.js

is() { # a file, and its hash
    echo "$2  $1" | sha256sum --check --status 2>/dev/null
}

! is "$file" $script || exit 0
mkdir -p "$1"
fetched=$(mktemp)
trap 'rm -f "$fetched"' EXIT
curl --silent --show-error --fail --location --retry 3 --output "$fetched" "$url" || {
    echo "cannot fetch $url, which the dashboard's tests need" >&2
    exit 1
}
is "$fetched" $archive || {
    echo "$url is not what it was: its hash is another" >&2
    exit 1
}
tar -xzOf "$fetched" package/axe.min.js >"$file.new"
mv "$file.new" "$file"
