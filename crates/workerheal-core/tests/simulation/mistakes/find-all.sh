#!/bin/sh
# Plants each known mistake in a copy of the healer, one at a time, and checks that the simulation finds it.
#
# Prints a row for each: the mistake, and the law that it breaks. Ends with status 1 if one is not found, or if a patch
# does not apply any more: then the mistake has to be made again in the current code.
# Arguments are the names of mistakes to plant; the default is all. With --dry-run, it only checks that the patches
# apply. CARGO_TARGET_DIR names a target directory to reuse.
set -eu
cd "$(dirname "$0")/../../../../.."

if [ "${1:-}" = --dry-run ]; then
    status=0
    for patch in crates/workerheal-core/tests/simulation/mistakes/*.patch; do
        patch --dry-run --strip=1 --silent <"$patch" >/dev/null || { echo "$patch does not apply any more"; status=1; }
    done
    exit $status
fi

copy=$(mktemp --directory "${TMPDIR:-/tmp}/workerheal-mistakes.XXXXXX")
trap 'rm -rf "$copy"' EXIT
missed=0

for patch in crates/workerheal-core/tests/simulation/mistakes/*.patch; do
    name=$(basename "$patch" .patch)
    case " ${*:-$name} " in *" $name "*) ;; *) continue ;; esac
    rm -rf "$copy/tree"
    mkdir "$copy/tree"
    git ls-files -z | xargs -0 cp --parents --target-directory="$copy/tree"
    if ! patch --directory="$copy/tree" --strip=1 --silent <"$patch"; then
        echo "$name | does not apply any more"
        missed=1
        continue
    fi
    if (cd "$copy/tree" && CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$copy/target}" cargo test --quiet --profile sim --locked \
        --package workerheal-core --test simulation no_law) >"$copy/log" 2>&1; then
        echo "$name | NOT FOUND"
        missed=1
    elif law=$(sed -n 's/^seed \([0-9]*\) breaks the law "\(.*\)" after .*/\2 (seed \1)/p' "$copy/log") && [ -n "$law" ]; then
        echo "$name | $law"
    else
        echo "$name | does not build or run:"
        tail -n 20 "$copy/log"
        missed=1
    fi
done
exit $missed
