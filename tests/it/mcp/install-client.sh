#!/bin/sh
# Installs the official Python client of the protocol below the given target directory, with the versions and hashes of
# requirements.txt, unless it is there already.
set -eu

here="$(dirname "$0")"
client="${1:-target}/mcp-client"

cmp -s "$here/requirements.txt" "$client/installed.txt" && exit 0

fail() {
    echo "cannot install the Python client of MCP: $*" >&2
    exit 1
}

# Debian's own Python, regardless of the path.
/usr/bin/python3 -m venv --clear "$client" || fail "python3 -m venv failed (see above); is python3-venv installed?"
"$client/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: --require-hashes \
    --requirement "$here/requirements.txt" || fail "pip install failed (see above)"
cp "$here/requirements.txt" "$client/installed.txt"
