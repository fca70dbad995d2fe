#!/bin/sh
# Makes the files of a release: packaging/dist.sh [ARCH...], of x86_64 and aarch64; without one, both.
#
# For each: a program that is linked statically, and of that a .deb, an .rpm and an archive, with completions, manual
# page, units, and what else belongs to it. SHA256SUMS and a list of dependencies (SBOM) are beside them.
# Everything is in target/dist. The same commit, compiler and tools give the same bytes, wherever the checkout is: times
# are the commit's, or $SOURCE_DATE_EPOCH, and paths are replaced. packaging/dist-twice.sh compares two builds.
#
# Needs Rust, cargo-auditable, cargo-cyclonedx, and Debian's dpkg-dev, debhelper and rpm. A package format whose tools
# are missing is left out, and said so.
# $DIST_PROFILE is another profile of cargo than release; $DIST_OUT another directory for the result.
set -eu

cd "$(dirname "$0")/.."
root=$PWD
profile=${DIST_PROFILE:-release}
target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
out=${DIST_OUT:-$target/dist}
work=$target/dist-work
cargo_home=${CARGO_HOME:-$HOME/.cargo}
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
maintainer=$(sed -n 's/^authors = \["\(.*\)"\]/\1/p' Cargo.toml)
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8 TZ=UTC
umask 022

fail() {
    echo "dist: $*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# Builds the program for an architecture; sets $program.
build() {
    triple=$1-unknown-linux-musl
    [ -d "$(rustc --print sysroot)/lib/rustlib/$triple" ] || rustup target add "$triple"
    directory=$profile
    [ "$profile" = dev ] && directory=debug
    # Rust brings a linker and a C library for these targets; nothing of this machine's is linked in.
    linker=CARGO_TARGET_$(echo "$triple" | tr 'a-z-' 'A-Z_')_LINKER
    # The last prefix that fits is replaced: the target directory may be inside the checkout, or elsewhere.
    # `cargo auditable` puts the list of dependencies into the program, where `cargo audit bin` and scanners read it.
    env "$linker=rust-lld" \
        RUSTFLAGS="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$root=/workerheal \
--remap-path-prefix=$target=/target" \
        cargo auditable build --locked --profile "$profile" --target "$triple" --bin workerheal
    program=$target/$triple/$directory/workerheal
    kind=$(file "$program")
    case $kind in
    *'statically linked'* | *'static-pie linked'*) ;;
    *) fail "$program is not static: $kind" ;;
    esac
}

# Puts all files of a package where they are to be installed: $stage.
make_stage() {
    stage=$work/$1/stage
    rm -rf "$stage"
    put() { install -D -m "$1" "$2" "$stage/$3"; }
    put 755 "$program" usr/bin/workerheal
    # They are the same for all architectures, so what runs here makes them.
    made=$work/made
    mkdir -p "$made"
    "$native" man >"$made/workerheal.1"
    "$native" man config >"$made/workerheal.yaml.5"
    for shell in bash zsh fish; do "$native" completions "$shell" >"$made/$shell"; done
    put 644 "$made/workerheal.1" usr/share/man/man1/workerheal.1
    put 644 "$made/workerheal.yaml.5" usr/share/man/man5/workerheal.yaml.5
    gzip -9n "$stage"/usr/share/man/man?/*
    put 644 "$made/bash" usr/share/bash-completion/completions/workerheal
    put 644 "$made/zsh" usr/share/zsh/site-functions/_workerheal
    put 644 "$made/fish" usr/share/fish/vendor_completions.d/workerheal.fish
    put 644 packaging/systemd/user/workerheal.service usr/lib/systemd/user/workerheal.service
    for unit in workerheal.service workerheal-polkit.service workerheal-polkit.path; do
        put 644 packaging/systemd/system/$unit usr/lib/systemd/system/$unit
    done
    for scope in system user; do
        put 644 packaging/systemd/preset/90-workerheal.preset usr/lib/systemd/$scope-preset/90-workerheal.preset
    done
    put 644 packaging/sysusers.d/workerheal.conf usr/lib/sysusers.d/workerheal.conf
    put 644 packaging/tmpfiles.d/workerheal.conf usr/lib/tmpfiles.d/workerheal.conf
    put 644 packaging/journald/workerheal.catalog usr/lib/systemd/catalog/workerheal.catalog
    doc=usr/share/doc/workerheal
    put 644 config/workerheal.yaml $doc/examples/config.yaml
    # Every setting in this file is the default.
    "$native" --system --config config/workerheal.yaml polkit-rule >"$made/polkit.rules"
    put 644 "$made/polkit.rules" $doc/examples/60-workerheal.rules
    put 644 packaging/prometheus/workerheal.rules.yml $doc/prometheus/workerheal.rules.yml
    put 644 packaging/grafana/workerheal.json $doc/grafana/workerheal.json
    put 644 README.md $doc/README.md
    put 644 CHANGELOG.md $doc/CHANGELOG.md
    put 644 "$sbom" "$doc/$(basename "$sbom")"
    put 644 LICENSE-MIT usr/share/licenses/workerheal/LICENSE-MIT
    put 644 LICENSE-APACHE usr/share/licenses/workerheal/LICENSE-APACHE
    find "$stage" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}

make_archive() {
    name=workerheal-$version-$1-unknown-linux-musl
    tree=$work/$1/$name
    rm -rf "$tree"
    cp -a "$stage/usr" "$tree"
    cp -a LICENSE-MIT LICENSE-APACHE README.md CHANGELOG.md "$tree"
    tar --create --directory="$work/$1" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --mode=go-w "$name" | gzip -9n >"$out/$name.tar.gz"
}

make_deb() {
    if ! has dh || ! has dpkg-architecture; then
        echo "dist: no .deb: install debhelper and dpkg-dev" >&2
        return
    fi
    case $1 in x86_64) debian=amd64 ;; aarch64) debian=arm64 ;; esac
    source=$work/$1/deb
    rm -rf "$source"
    mkdir -p "$source"
    cp -a packaging/debian "$source/debian"
    # The manual page and the change log are compressed by the tools of Debian.
    cp -a "$stage" "$source/stage"
    cp CHANGELOG.md "$source"
    gunzip "$source"/stage/usr/share/man/man?/*.gz
    rm "$source/stage/usr/share/doc/workerheal/CHANGELOG.md"
    cat >"$source/debian/changelog" <<END
workerheal ($version) unstable; urgency=medium

  * See changelog.gz in this directory.

 -- $maintainer  $(date --rfc-email --date="@$SOURCE_DATE_EPOCH")
END
    # A checkout may be older than the commit, and dpkg only replaces times that are newer.
    find "$source" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    (
        cd "$source"
        DEB_BUILD_OPTIONS=nocheck STAGE=$source/stage CHANGELOG=$source/CHANGELOG.md CC=true \
            dpkg-architecture --host-arch "$debian" --force --command debian/rules binary
    ) >"$work/$1/deb.log" 2>&1 || { cat "$work/$1/deb.log" >&2; fail "no .deb"; }
    mv "$work/$1/workerheal_${version}_$debian.deb" "$out"
}

make_rpm() {
    has rpmbuild || { echo "dist: no .rpm: install rpm" >&2; return; }
    top=$work/$1/rpm
    rm -rf "$top"
    # The path of the tree would be part of the package.
    rpmbuild -bb --quiet --target "$1-linux" --buildroot "$top/root" \
        --define "_topdir $top" --define "version $version" --define "stage $stage" \
        --define "changelog_date $(date --date="@$SOURCE_DATE_EPOCH" '+%a %b %d %Y')" \
        --define "_buildhost workerheal" --define "use_source_date_epoch_as_buildtime 1" \
        --define "clamp_mtime_to_source_date_epoch 1" --define "_binary_payload w19.zstdio" \
        --define "_docdir /usr/share/doc" packaging/rpm/workerheal.spec >"$work/rpm.log" 2>&1 ||
        { cat "$work/rpm.log" >&2; fail "no .rpm"; }
    mv "$top/RPMS/$1/workerheal-$version-1.$1.rpm" "$out"
}

# The dependencies of the program, as CycloneDX. Those of all architectures are the same.
make_sbom() {
    sbom=$work/workerheal-$version.cdx.json
    # It writes beside the Cargo.toml of each package. With $SOURCE_DATE_EPOCH it makes up no serial number.
    cargo cyclonedx --quiet --format json --spec-version 1.5 --target x86_64-unknown-linux-musl --no-build-deps \
        --override-filename workerheal-sbom
    sed "s|$root|/workerheal|g" workerheal-sbom.json >"$sbom"
    git ls-files '*Cargo.toml' | while read -r manifest; do rm -f "${manifest%Cargo.toml}workerheal-sbom.json"; done
    cp "$sbom" "$out"
}

[ -n "$version" ] || fail "Cargo.toml names no version"
[ -n "$maintainer" ] || fail "Cargo.toml names no author"
for tool in auditable cyclonedx; do
    has cargo-$tool || fail "cargo-$tool is missing: make dist installs it"
done
[ $# -gt 0 ] || set -- x86_64 aarch64
rm -rf "$out" "$work"
mkdir -p "$out" "$work"
make_sbom
# The program of this machine makes the manual page and the completions of all.
build "$(uname -m)"
native=$program
for arch in "$@"; do
    case $arch in x86_64 | aarch64) ;; *) fail "no such architecture: $arch" ;; esac
    build "$arch"
    mkdir -p "$work/$arch"
    make_stage "$arch"
    make_archive "$arch"
    make_deb "$arch"
    make_rpm "$arch"
done
(cd "$out" && sha256sum -- * >SHA256SUMS)
ls -l "$out"
