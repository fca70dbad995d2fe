#!/bin/sh
# Makes the files of a release twice, from two clones in different directories, and compares them byte by byte:
# packaging/dist-twice.sh [ARCH...], as packaging/dist.sh. What is not committed is not in the clones.
#
# $DIST_FIRST is a directory with files that packaging/dist.sh made of the same commit, here or on another machine: then
# only one clone is built, and compared with those.
#
# Nothing is shared by the two but Rust and the sources of dependencies in cargo's home. The second checkout has a
# longer path, and a target directory outside. What differs is kept in target/dist-twice, together with a list of it.
set -eu

cd "$(dirname "$0")/.."
target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
twice=$target/dist-twice
first=${DIST_FIRST:+$(readlink -e "$DIST_FIRST")}
unset CARGO_TARGET_DIR DIST_OUT DIST_FIRST
rm -rf "$twice"
mkdir -p "$twice/a" "$twice/elsewhere"

one=$twice/a/source
other=$twice/elsewhere/another-checkout-of-workerheal
# Of the same commit, whatever is committed meanwhile.
for checkout in "$one" "$other"; do git clone --quiet --no-hardlinks . "$checkout"; done

dist() { # the checkout, the target directory, and architectures
    checkout=$1 build=$2
    shift 2
    begun=$(date +%s)
    (cd "$checkout" && CARGO_TARGET_DIR=$build packaging/dist.sh "$@") >"$build.log" 2>&1 || {
        tail -n 40 "$build.log" >&2
        echo "dist-twice: the build failed: $build.log" >&2
        exit 1
    }
    echo "dist-twice: built in $(($(date +%s) - begun)) s"
}

if [ -z "$first" ]; then
    dist "$one" "$twice/a/target" "$@"
    first=$twice/a/target/dist
fi
dist "$other" "$twice/elsewhere/built" "$@"
if diff --recursive --brief "$first" "$twice/elsewhere/built/dist" >"$twice/differences"; then
    cat "$first/SHA256SUMS"
    echo "dist-twice: both are the same, byte for byte"
else
    cat "$twice/differences" >&2
    echo "dist-twice: two builds differ: $twice" >&2
    exit 1
fi
rm -rf "$twice"
