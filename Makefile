# What there is to do here: run it, test it, prove it, measure it. Each installs what it lacks, on Debian.

SHELL := /bin/bash
CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto

# A C compiler and libc for ring, SQLite and the linker; curl and CA certificates for the calls that a first
# start prints. xmlsec, libxml and OpenSSL verify the signatures of SAML; libclang reads their headers.
BUILD_PACKAGES := gcc libc6-dev ca-certificates curl libxml2-dev libxmlsec1-dev libxmlsec1-openssl libssl-dev \
  pkg-config libclang-dev
# A PostgreSQL server for the tests to start, openssl as a client that is not ours, Python for scripts, and Go with
# its sumdb packages, which check the log independently; for the same, what sigstore of PyPI and of npm need.
# SoftHSM as a token for root keys, and a spy between it and us. PHP runs an identity provider, and xmlsec1 signs for another.
# cvc5 proves what policies never allow.
TEST_PACKAGES := $(BUILD_PACKAGES) age postgresql openssl softhsm2 opensc-pkcs11 python3 python3-venv golang-go golang-golang-x-mod-dev \
  php-cli php-xml xmlsec1 cvc5
# Node of another source than Debian brings npm along and does not go with Debian's.
TEST_PACKAGES += $(if $(shell command -v npm 2>/dev/null),,nodejs npm)

.PHONY: help run build test prove bench build-packages test-packages

help: ## what there is to do here
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-8s %s\n", $$1, $$2 }'

run: build ## build and start the service at https://127.0.0.1:8443, data in ./data
	@echo '== make run: starting cedarkeep; Ctrl-C stops it'
	exec $(CARGO) run --release --quiet -- serve --demo

build: build-packages ## build the service
	@echo '== make build: the first build takes some minutes'
	$(CARGO) build --release --bin cedarkeep

test: test-packages ## every test
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	  echo '== make test: cargo nextest'; exec $(CARGO) nextest run --workspace --no-fail-fast; \
	else \
	  echo '== make test: cargo test'; exec $(CARGO) test --workspace --no-fail-fast; \
	fi

prove: test-packages ## what the service promises, shown from outside: crashes, scans, old TLS, a full disk
	@if [ ! -x tests/prove ]; then echo 'make prove: tests/prove is missing' >&2; exit 1; fi
	exec tests/prove

bench: test-packages ## measure, beside peers too; writes target/bench
	@.ci/peers
	$(CARGO) bench --bench engine
	$(CARGO) bench --bench decide
	$(CARGO) bench --bench tenants
	$(CARGO) bench --bench log
	$(CARGO) bench --bench content
	$(CARGO) bench --bench replay
	$(CARGO) bench --features peers --bench peers

build-packages:
	@.ci/packages $(BUILD_PACKAGES)

test-packages:
	@.ci/packages $(TEST_PACKAGES)
	@.ci/checkers
