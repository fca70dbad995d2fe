#!/bin/sh
# Puts each known mistake into a copy of the healer, one at a time, and sees that the simulation finds it.
#
# Prints a row for each: the mistake, the law that is broken, and after how many days at the most. Ends with status 1
# if one is not found, or if a patch does not apply any more: then the mistake has to be made anew in today's code.
# With names as arguments only those are made. With CARGO_TARGET_DIR what is built there already is not built again.
set -eu
cd "$(dirname "$0")/../../../../.."

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
