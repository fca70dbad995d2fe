# make demo     build, start a private service manager, and watch crashed workers being healed
# make recording  records docs/demo.svg: the program itself, in a sandbox, on a terminal of 80 columns
# make test     all tests (installs the Debian packages that they need)
# make simulate a million simulated days; stops at the first broken law of healing
# make mistakes plants known mistakes in the healer, one at a time, and checks that the simulation finds each
# make mutants  changes the core in one of eight places where that is possible, one at a time, and lists the changes
#               that its tests and a short simulation miss; MUTANTS=3/8 chooses other places
# make coverage lines of the core that its tests and a short simulation run
# make fuzz     fuzzes everything that reads input from outside, a minute each; FUZZ_SECONDS=1200 is longer
# make chaos    kills the daemon at every step, several hundred points, and checks the outcome of each
# make soak     faults of every kind for an hour; WORKERHEAL_SOAK=60 is a minute, WORKERHEAL_SEED repeats one
# make booted   installs workerheal as a user would, on a whole machine that boots in a container (as root)
# make test-releases  the same on Debian 11, 12, 13 and testing, each with its own systemd (as root); RELEASES="trixie" is one
# make bench    all benchmarks, about 40 minutes; BENCH="latency storm" runs some (benches/system/main.rs)
# make bench-compare  compares the last run with the one before; BEFORE=DIRECTORY names another
# make lint     formatting, clippy, documentation, dependencies, public API, and whether the mistakes still apply
# make macos-binary  cross-compiles the program for Macs (installs cargo-zigbuild and zig); see docs/macos.md
# make dist     packages for Linux: .deb, .rpm and archives for x86_64 and aarch64; ARCHS="x86_64" is one (packaging/dist.sh)
# make dist-twice  the same from two clones, compared byte by byte; takes twice as long;
#               DIST_FIRST=target/dist compares one clone with the files of `make dist` from the same commit
# make check-dist  checks the packages of `make dist` with the tools of Debian and rpm, and their contents
# make test-package  installs .deb and .rpm on whole machines that boot in a container, and tests healing (as root)
# make install  installs the program, its manual pages and completions; `workerheal install` then adds the service

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
PREFIX ?= $(HOME)/.local

.PHONY: demo recording test simulate mistakes mutants coverage fuzz chaos soak booted test-releases bench bench-compare lint deny public-api macos macos-binary dist dist-twice dist-tools check-dist test-package install install-files packages

# With a profile of its own and without the surfaces, which the demo does not show: this saves most of the build time.
demo: packages
	$(CARGO) build --profile demo --no-default-features --locked --quiet \
		--package workerheal --bin workerheal --package workerheal-sandbox --bin demo
	$(TARGET)/demo/demo $(TARGET)/demo/workerheal

recording: packages
	$(CARGO) build --profile demo --no-default-features --locked --quiet --package workerheal --bin workerheal
	docs/record.py $(TARGET)/demo/workerheal docs/demo.svg

# The simulation has a profile of its own, with which it is ten times as fast.
SIMULATION := $(CARGO) test --profile sim --locked --package workerheal-core --test simulation --

test: packages
	@tests/it/mcp/install-client.sh $(TARGET)
	@tests/it/dashboard/fetch-axe.sh $(TARGET)/tmp
	$(CARGO) test --workspace --locked
	$(SIMULATION) --nocapture no_law

# Built a minute longer, it runs a quarter faster.
simulate: export CARGO_PROFILE_SIM_LTO = fat
simulate: export CARGO_PROFILE_SIM_CODEGEN_UNITS = 1
simulate:
	WORKERHEAL_DAYS=$${WORKERHEAL_DAYS:-1000000} $(SIMULATION) --nocapture no_law

mistakes:
	crates/workerheal-core/tests/simulation/mistakes/find-all.sh

MUTANTS ?= 0/8
mutants:
	@$(CARGO) mutants --version >/dev/null 2>&1 || $(CARGO) install --locked --quiet cargo-mutants
	.ci/mutants.sh $(TARGET) $(MUTANTS)

coverage:
	@$(CARGO) llvm-cov --version >/dev/null 2>&1 || $(CARGO) install --locked --quiet cargo-llvm-cov
	WORKERHEAL_DAYS=$${WORKERHEAL_DAYS:-500} $(CARGO) llvm-cov --locked --package workerheal-core --profile sim \
		--lib --test simulation --ignore-filename-regex '/tests' --summary-only

# On the stable toolchain: coverage needs no sanitizer, and RUSTC_BOOTSTRAP permits its flags. New findings go to
# fuzz/found; those worth keeping are copied to fuzz/corpus by hand, where `cargo test` runs them.
FUZZ := config registry names state requests messages journal launchctl
FUZZ_SECONDS ?= 60

fuzz:
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked --quiet cargo-fuzz@^0.13
	RUSTC_BOOTSTRAP=1 $(CARGO) fuzz build --sanitizer none
	for target in $(FUZZ); do \
		mkdir -p fuzz/found/$$target && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --sanitizer none $$target \
			fuzz/found/$$target fuzz/corpus/$$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 || exit 1; \
	done

chaos: packages
	WORKERHEAL_CHAOS=all $(CARGO) test --locked --test it -- --nocapture faults::killed::

soak: packages
	WORKERHEAL_SOAK=$${WORKERHEAL_SOAK:-3600} $(CARGO) test --locked --test it -- --nocapture faults::soak::

booted:
	$(CARGO) build --locked --quiet --bin workerheal
	tests/booted/run.sh $(TARGET)/debug/workerheal

RELEASES ?= bullseye bookworm trixie forky

test-releases: packages
	@tests/sandbox/install-packages.sh tests/releases/packages.txt
	tests/releases/run.sh $(TARGET) $(RELEASES)

BENCH ?= micro allocations process latency idle storm flapping crowd

# Everything is built before anything is measured. Tables and raw figures are in $(TARGET)/bench.
bench: packages
	@tests/sandbox/install-packages.sh benches/packages.txt
	$(CARGO) bench --locked --benches --no-run
	$(if $(filter micro,$(BENCH)),$(CARGO) bench --locked --bench micro)
	$(if $(filter allocations,$(BENCH)),$(CARGO) bench --locked --bench allocations)
	$(CARGO) bench --locked --bench system -- none $(filter-out allocations crowd,$(BENCH))
	$(if $(filter crowd,$(BENCH)),$(CARGO) bench --locked --bench crowd)

bench-compare:
	$(CARGO) bench --locked --bench system -- compare $(BEFORE)

lint: deny macos public-api
	crates/workerheal-core/tests/simulation/mistakes/find-all.sh --dry-run
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked --quiet

# Compares the public API of the libraries with docs/public-api (installs cargo-public-api).
public-api:
	@.ci/public-api.sh

# Checks that the portable parts compile for macOS, if Rust's library for it is installed (rustup target add
# aarch64-apple-darwin). tests/it/platform.rs is an approximate check for other machines.
macos:
	@if [ -d "$$(rustc --print sysroot)/lib/rustlib/aarch64-apple-darwin" ]; then \
		$(CARGO) check --locked --quiet --target aarch64-apple-darwin --package workerheal --package workerheal-launchd; \
	else echo "Not checked: whether it compiles for macOS (rustup target add aarch64-apple-darwin)"; fi

# Not part of the tests: it fetches tools, and builds everything twice.
MACOS_PROFILE ?= release
macos-binary:
	packaging/macos/build.sh $(MACOS_PROFILE)

# Not part of the tests: it builds everything for two targets.
dist: dist-tools
	packaging/dist.sh $(ARCHS)

dist-twice: dist-tools
	packaging/dist-twice.sh $(ARCHS)

dist-tools:
	@tests/sandbox/install-packages.sh packaging/packages.txt
	@$(CARGO) auditable --version >/dev/null 2>&1 || $(CARGO) install --locked --quiet cargo-auditable@^0.7
	@$(CARGO) cyclonedx --version >/dev/null 2>&1 || $(CARGO) install --locked --quiet cargo-cyclonedx@^0.5

check-dist:
	@tests/sandbox/install-packages.sh packaging/packages.txt
	packaging/check.sh $(TARGET)/dist

test-package:
	@tests/sandbox/install-packages.sh packaging/packages.txt
	for script in readme user package system; do \
		tests/booted/run.sh $(TARGET)/dist/workerheal_*_amd64.deb / $$script.sh || exit 1; \
	done
	tests/booted/run.sh $(TARGET)/dist/workerheal-*.x86_64.rpm / rpm.sh

# Advisories need the network, so only the other checks are made.
deny:
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked --quiet cargo-deny@^0.20
	$(CARGO) deny --log-level error --locked check bans licenses sources

install:
	$(CARGO) build --release --locked --bin workerheal
	@$(MAKE) --no-print-directory install-files PROGRAM=$(TARGET)/release/workerheal
	@echo "Installed. Start it now and at each login: $(PREFIX)/bin/workerheal install"

# The program generates its manual pages and completions.
PROGRAM ?= $(TARGET)/release/workerheal
BELOW := $(DESTDIR)$(PREFIX)
PAGES := $(BELOW)/share/man
COMPLETIONS := $(BELOW)/share/bash-completion/completions $(BELOW)/share/zsh/site-functions \
	$(BELOW)/share/fish/vendor_completions.d

install-files:
	install -d $(BELOW)/bin $(PAGES)/man1 $(PAGES)/man5 $(COMPLETIONS)
	install -m 755 $(PROGRAM) $(BELOW)/bin/workerheal
	$(PROGRAM) man >$(PAGES)/man1/workerheal.1
	$(PROGRAM) man config >$(PAGES)/man5/workerheal.yaml.5
	$(PROGRAM) completions bash >$(word 1,$(COMPLETIONS))/workerheal
	$(PROGRAM) completions zsh >$(word 2,$(COMPLETIONS))/_workerheal
	$(PROGRAM) completions fish >$(word 3,$(COMPLETIONS))/workerheal.fish

packages:
	@tests/sandbox/install-packages.sh
