#!/bin/sh
# Compares the public API of both libraries with docs/public-api, and prints the difference.
#
# With --update, writes the current one. The API is read from rustdoc's JSON, which is unstable: RUSTC_BOOTSTRAP makes
# the stable compiler write it.
set -eu
cd "$(dirname "$0")/.."
version=0.52

if ! cargo public-api --version >/dev/null 2>&1 && ! cargo install --locked --quiet "cargo-public-api@^$version"; then
    echo "The public API was not compared: cargo-public-api is missing and could not be installed" \
        "(cargo install --locked cargo-public-api@^$version)." >&2
    exit 1
fi

# A target directory of its own, as RUSTC_BOOTSTRAP would cause a full rebuild in the usual one.
target=${CARGO_TARGET_DIR:-target}/public-api
changed=0
for crate in workerheal-core workerheal; do
    RUSTC_BOOTSTRAP=1 cargo rustdoc --locked --quiet --package "$crate" --lib --target-dir "$target" \
        -- -Z unstable-options --output-format json --cap-lints allow
    now=$target/$crate.txt
    cargo public-api --rustdoc-json "$target/doc/$(echo "$crate" | tr - _).json" -sss --color never >"$now"
    if [ "${1:-}" = --update ]; then
        cp "$now" "docs/public-api/$crate.txt"
    elif ! diff -U 0 "docs/public-api/$crate.txt" "$now"; then
        changed=1
    fi
done
if [ $changed -ne 0 ]; then
    echo "The public API has changed. If that is meant: .ci/public-api.sh --update" >&2
fi
exit $changed
