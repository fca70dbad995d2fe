#!/bin/sh
# Mutation test of the core: .ci/mutants.sh TARGET SHARD, as in `.ci/mutants.sh target 0/8`.
#
# The core's unit tests run against every mutant of the shard, and a short simulation against those that they miss. What
# neither notices is in TARGET/mutants-missed.txt. A mutant for which the simulation goes on for ever counts as noticed.
# Explanations are excluded: they are tested with the program's own tests.
set -eu
target=$1 shard=$2

mutants() { # OUTPUT and further arguments; a status of 2 says that mutants were missed, 3 that some timed out
    output=$1
    shift
    mkdir -p "$output"
    cargo mutants --package workerheal-core --profile sim --exclude 'crates/workerheal-core/src/explain/**' \
        --minimum-test-timeout 60 --output "$output" "$@" || case $? in 2 | 3) ;; *) exit 1 ;; esac
}

# A mutant is built incrementally, and for the unit tests without optimizations: the build takes longer than the tests,
# except for those of random facts, which the simulation includes.
export CARGO_INCREMENTAL=1 CARGO_PROFILE_SIM_DEBUG=0 CARGO_PROFILE_SIM_OPT_LEVEL=0
# A failure that one mutant causes would be remembered, and tried with all later ones.
export PROPTEST_DISABLE_FAILURE_PERSISTENCE=1
mutants "$target/mutants-unit" --shard "$shard" --sharding round-robin --cargo-arg=--lib -- -- --skip lives::

unit=$target/mutants-unit/mutants.out simulation=$target/mutants-simulation/mutants.out
missed=$target/mutants-missed.txt
sort "$unit/missed.txt" >"$missed"
if [ -s "$missed" ]; then
    export WORKERHEAL_DAYS="${WORKERHEAL_DAYS:-1000}" CARGO_PROFILE_SIM_OPT_LEVEL=1
    names=$(sed 's/[][\\.^$*+?(){}|&]/\\&/g; s/^/^/; s/$/$/' "$missed" | paste -sd '|')
    # cargo-mutants 27 applies no name to mutants that leave out a field: those of other files are excluded, and the result
    # is compared with what the unit tests miss.
    files=$(cut -d : -f 1 "$missed" | sort -u | sed 's/^/--file=/')
    # shellcheck disable=SC2086 # One argument for each file.
    mutants "$target/mutants-simulation" --re "$names" $files --cargo-arg=--test=simulation
    sort "$simulation/missed.txt" | comm -12 - "$missed" >"$missed.both"
    mv "$missed.both" "$missed"
fi

count() { cat "$@" | wc -l; }
noticed=$(count "$unit/caught.txt" "$unit/timeout.txt")
echo "mutants that compile: $((noticed + $(count "$unit/missed.txt")))"
echo "noticed by unit tests: $noticed"
echo "noticed by the simulation: $(($(count "$unit/missed.txt") - $(count "$missed")))"
echo "missed: $(count "$missed")"
cat "$missed"
