#!/bin/sh
# Checks what packaging/dist.sh has made: packaging/check.sh DIRECTORY
#
# What the tools of Debian and of rpm say of the packages, whether the programs need any library, whether they start
# (under emulation where that is needed), whether they name their dependencies, whether the manual page and the
# completions load, and whether the units, accounts and messages are accepted.
set -eu

cd "$(dirname "$0")/.."
made=$(readlink -f "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)

check() { # what, and a command that succeeds without a word
    what=$1
    shift
    if said=$("$@" 2>&1) && [ -z "$said" ]; then
        echo "ok      $what"
    else
        echo "FAILED  $what"
        echo "$said" | head -n 40
        status=1
    fi
}

sums() { (cd "$made" && sha256sum --check --quiet SHA256SUMS); }

is_static() {
    case $(LC_ALL=C ldd "$1" 2>&1 || true) in
    *"not a dynamic executable"* | *"statically linked"*) ;;
    *) LC_ALL=C ldd "$1" ;;
    esac
    if readelf --dynamic "$1" 2>/dev/null | grep NEEDED; then return 1; fi
}

starts() { # the program, with what emulates its processor
    case $1 in
    *aarch64*) qemu-aarch64-static "$1" --version ;;
    *) "$1" --version ;;
    esac | grep -v "^workerheal $2\$" || true
}

# Against the published schema, which comes with a library of PyPI.
sbom_is_valid() {
    tools=${CARGO_TARGET_DIR:-target}/check-tools
    [ -x "$tools/bin/python" ] || python3 -m venv "$tools"
    "$tools/bin/python" -c 'import cyclonedx' 2>/dev/null ||
        "$tools/bin/pip" install --quiet --disable-pip-version-check 'cyclonedx-python-lib[json-validation]~=11.0'
    "$tools/bin/python" - "$1" <<'END'
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

with open(sys.argv[1], encoding="utf-8") as file:
    error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(file.read())
if error:
    print(error)
END
}

man_page() {
    MANROFFSEQ='' MANWIDTH=100 man --warnings --encoding=UTF-8 --local-file --troff-device=utf8 "$1" >/dev/null
    # Without a pager, man hides what groff says of macros.
    zcat "$1" | groff -man -Tutf8 -ww -rHY=0 -z
}

units() {
    # Units and programs of others are not in the tree.
    systemd-analyze verify --man=no --root="$1" "$1"/usr/lib/systemd/system/workerheal* 2>&1 | grep -E 'workerheal' |
        grep -Ev 'Failed to create .* Unit sysinit.target not found|Command /bin/kill is not executable' || true
}

exposure() { # of the unit of the system: at most 2.0
    for unit in workerheal workerheal-polkit; do
        systemd-analyze security --offline=yes --threshold=20 "$1/usr/lib/systemd/system/$unit.service" >/dev/null
    done
}

accounts() {
    rm -rf "$work/root"
    mkdir -p "$work/root/etc"
    printf 'root:x:0:0::/root:/bin/sh\n' >"$work/root/etc/passwd"
    printf 'root:x:0:\n' >"$work/root/etc/group"
    systemd-sysusers --root="$work/root" "$1/usr/lib/sysusers.d/workerheal.conf" >/dev/null 2>&1
    for name in workerheal workerheal-operators; do
        grep -q "^$name:" "$work/root/etc/group" || echo "there is no group $name"
    done
    grep -q '^workerheal-operators:.*:workerheal$' "$work/root/etc/group" ||
        echo "the daemon is not among its operators"
}

catalogue() {
    mkdir -p "$work/root/usr/lib/systemd/catalog" "$work/root/var/lib/systemd/catalog"
    cp "$1/usr/lib/systemd/catalog/workerheal.catalog" "$work/root/usr/lib/systemd/catalog/"
    journalctl --root="$work/root" --update-catalog
    listed=$(journalctl --root="$work/root" --list-catalog | grep -c ' workerheal: \|Worker \|attempt\|heal' || true)
    [ "$listed" -ge 10 ] || echo "$listed of 10 messages are listed"
}

completions() {
    bash -n "$1/usr/share/bash-completion/completions/workerheal"
    bash -c 'source "$0" && complete -p workerheal' "$1/usr/share/bash-completion/completions/workerheal" >/dev/null
    zsh -f -c 'autoload -Uz compinit && compinit -D && source "$0" && (( $+_comps[workerheal] ))' \
        "$(find "$1/usr/share/zsh" -name _workerheal)"
    fish=$1/usr/share/fish/vendor_completions.d/workerheal.fish
    fish --no-config -c "source $fish; and complete -c workerheal" >/dev/null
}

rpm_lint() {
    rpmlint --config packaging/rpm/rpmlint.toml "$1" 2>&1 | grep -E '(: E: |[1-9][0-9]* errors)' || true
}

# What is written by hand once more: the version, and what packaging/origin.sh knows.
recipes_agree() {
    for place in "arch/PKGBUILD pkgver=$version" "homebrew/workerheal.rb /v$version.tar.gz" \
        "../README.md workerheal_${version}_amd64.deb" "../README.md workerheal-$version-1.x86_64.rpm" \
        "../README.md workerheal-$version-x86_64-unknown-linux-musl.tar.gz"; do
        grep -qF -- "${place#* }" "packaging/${place%% *}" || echo "packaging/${place%% *} does not name ${place#* }"
    done
    packaging/origin.sh
}

recipes_parse() { # these are run by no tool here
    bash -n packaging/arch/PKGBUILD
    ruby -c packaging/homebrew/workerheal.rb >/dev/null
    for file in packaging/nix/*.nix; do nix-instantiate --option build-users-group '' --parse "$file" >/dev/null; done
}

check "the sums" sums
check "shellcheck of the scripts" shellcheck --severity=warning packaging/*.sh packaging/*/*.sh \
    packaging/debian/*.prerm packaging/debian/*.postrm tests/*/*.sh
sbom=$(find "$made" -name '*.cdx.json')
check "the SBOM is valid" sbom_is_valid "$sbom"
check "PKGBUILD, formula, flake and README name the same" recipes_agree
check "PKGBUILD, formula and flake parse" recipes_parse
for archive in "$made"/*.tar.gz; do
    name=$(basename "$archive" .tar.gz)
    tar --extract --file="$archive" --directory="$work"
    program=$work/$name/bin/workerheal
    check "$name: it needs no library" is_static "$program"
    check "$name: it starts" starts "$program" "$version"
    check "$name: it names its dependencies, as the SBOM does" packaging/dependencies.py "$program" "$sbom"
done
for package in "$made"/*.deb; do
    name=$(basename "$package")
    tree=$work/$name.tree
    dpkg-deb --extract "$package" "$tree"
    check "$name: lintian" lintian --allow-root --fail-on error --display-level '>=error' --quiet "$package"
    for page in "$tree"/usr/share/man/man?/*; do check "$name: $(basename "$page" .gz)" man_page "$page"; done
    check "$name: completions" completions "$tree"
    check "$name: units" units "$tree"
    check "$name: exposure of the system's units" exposure "$tree"
    check "$name: accounts" accounts "$tree"
    check "$name: catalogue" catalogue "$tree"
done
for package in "$made"/*.rpm; do
    check "$(basename "$package"): rpmlint" rpm_lint "$package"
done
if grep -q '^authors.*\.invalid>' Cargo.toml; then
    echo "note    the maintainer is a placeholder, and the address of the repository may be: packaging/origin.sh sets both"
fi
exit $status
