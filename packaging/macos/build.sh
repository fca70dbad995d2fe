#!/bin/sh
# Builds workerheal for both kinds of Macs on any machine: packaging/macos/build.sh PROFILE
#
# zig links it, with what sdk/ says of Apple's frameworks: just the names that workerheal's dependencies use, written
# by this project. Nothing of Apple's is needed. What comes out has not been run here: there is no Mac.
set -eu
profile=$1
here=$(cd "$(dirname "$0")" && pwd)
# The oldest macOS that Rust's library for arm64 supports.
minimum=11.0

target=${CARGO_TARGET_DIR:-target}
command -v cargo-zigbuild >/dev/null || cargo install --locked --quiet cargo-zigbuild@^0.24
if ! command -v zig >/dev/null && ! python3 -m ziglang version >/dev/null 2>&1; then
	[ -x "$target/zig/bin/python3" ] || python3 -m venv "$target/zig"
	"$target/zig/bin/python3" -m pip install --quiet --disable-pip-version-check --only-binary=:all: "ziglang==0.17.*"
	# cargo-zigbuild looks for it in the first python3 of the path.
	PATH=$(cd "$target/zig/bin" && pwd):$PATH
fi

directory=$profile
[ "$profile" = dev ] && directory=debug
for arch in aarch64 x86_64; do
	[ -d "$(rustc --print sysroot)/lib/rustlib/$arch-apple-darwin" ] || rustup target add "$arch-apple-darwin"
	SDKROOT=$here/sdk MACOSX_DEPLOYMENT_TARGET=$minimum \
		cargo zigbuild --locked --profile "$profile" --target "$arch-apple-darwin" --bin workerheal
	program=$target/$arch-apple-darwin/$directory/workerheal
	case $arch in aarch64) kind=arm64 ;; *) kind=x86_64 ;; esac
	file "$program" | grep -q "Mach-O 64-bit $kind executable" || { file "$program"; exit 1; }
	found=$(python3 "$here/minimum-version.py" "$program")
	[ "$found" = "$minimum" ] || { echo "$program needs macOS $found, not $minimum" >&2; exit 1; }
	echo "$program: $kind, macOS $minimum and later"
done
