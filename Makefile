# make demo     build, start a private service manager, and watch crashed workers being healed
# make test     all tests (installs the Debian packages that they need)
# make simulate a million simulated days, in which no law of healing may be broken
# make mistakes makes known mistakes in the healer, one at a time, and sees that the simulation finds each
# make bench    the measurements of the README
# make lint     formatting, clippy, documentation, dependencies
# make install  the program and its user unit, for the calling user

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
PREFIX ?= $(HOME)/.local
UNITS ?= $(if $(XDG_CONFIG_HOME),$(XDG_CONFIG_HOME),$(HOME)/.config)/systemd/user

.PHONY: demo test simulate mistakes bench lint deny install packages

demo: packages
	$(CARGO) build --release --locked --quiet --bin workerheal
	$(CARGO) run --release --locked --quiet --package workerheal-sandbox --bin demo -- $(TARGET)/release/workerheal

# The simulation is in a profile of its own, as it is ten times as fast there.
SIMULATION := $(CARGO) test --profile sim --locked --test simulation --

test: packages
	$(CARGO) test --workspace --locked
	$(SIMULATION) --nocapture no_law

simulate:
	WORKERHEAL_DAYS=$${WORKERHEAL_DAYS:-1000000} $(SIMULATION) --nocapture no_law

mistakes:
	tests/simulation/mistakes/find-all.sh

bench: packages
	$(CARGO) bench --locked --bench latency
	$(CARGO) bench --locked --bench crowd

lint: deny
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked --quiet

# Advisories need the network: a machine without it checks the rest.
deny:
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked --quiet cargo-deny@^0.20
	$(CARGO) deny --log-level error --locked check bans licenses sources

install:
	$(CARGO) build --release --locked --bin workerheal
	install -D -m 755 $(TARGET)/release/workerheal $(DESTDIR)$(PREFIX)/bin/workerheal
	install -d $(DESTDIR)$(UNITS)
	sed 's|^ExecStart=/usr/bin/|ExecStart=$(PREFIX)/bin/|' packaging/systemd/user/workerheal.service \
		> $(DESTDIR)$(UNITS)/workerheal.service
	@echo "Installed. Start it now and at each login: systemctl --user daemon-reload && systemctl --user enable --now workerheal"

packages:
	@tests/sandbox/install-packages.sh
