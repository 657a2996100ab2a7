.DEFAULT_GOAL := help
.PHONY: help audit bench demo fuzz load sbom test test-rust test-django test-e2e lint prerequisites binaries environments

PYTHON ?= python3
# Virtual environments, made once and kept.
CACHE := $(or $(SIDING_CACHE),.cache)
# End-to-end tests run what the image ships: static binaries.
STATIC := $(shell uname -m)-unknown-linux-musl
# Which of them; the image is built with the first.
CRATES ?= siding simulated-llm load-driver
# CycloneDX; the image has it too.
SBOM := target/siding.cdx.json
# How many inputs each fuzz target gets, which targets, and what else watches them.
FUZZ_RUNS ?= 10000000
TARGETS ?= $(notdir $(basename $(wildcard fuzz/fuzz_targets/*.rs)))
FUZZ_SANITIZER ?= none
# What `make test` does at once: a job that waits for the network leaves its core to another.
JOBS := $(shell expr $$(nproc) + 1)

help:
	@echo "make demo          load a Django app directly and through Siding, and compare"
	@echo "make demo STAY=1   the same, and leave everything up until Ctrl-C"
	@echo "make test          every test, as CI runs them; sets up what it needs"
	@echo "make bench         compare seven servers, for half an hour (BENCH_ARGS=\"--quick --only siding\" does less)"
	@echo "make load          measure the figures that Siding promises (FIGURE=\"name\" picks some)"
	@echo "make audit         advisories, licences and sources of all dependencies (asks the network)"
	@echo "make sbom          a bill of materials of the static program, into $(SBOM)"
	@echo "make fuzz          feed every parser of foreign bytes with nonsense (FUZZ_RUNS=100000 TARGETS=\"call stream\")"
	@echo "make test-rust | test-django | test-e2e    parts of it (PYTEST_ARGS=\"-k name\" picks tests)"

demo:
	@$(PYTHON) examples/demo/demo.py

# The longest first. What each prints is shown as a whole when it is done.
test: prerequisites
	@echo "== at once: static binaries, Rust's tests, environments, lints, the Django package's tests"
	@$(MAKE) --no-print-directory --jobs=$(JOBS) --output-sync=recurse binaries test-rust environments lint test-django
	@$(MAKE) --no-print-directory test-e2e
	@echo "== every test passed"

prerequisites:
	@$(PYTHON) tests/harness/prerequisites.py test

# Each figure on its own: make load FIGURE="worker_cost". Nothing else should be running.
load:
	$(PYTHON) tests/load/run.py $(CACHE) $(FIGURE)

# What an input reached stays in fuzz/target, what failed in fuzz/artifacts.
fuzz:
	@cargo fuzz --version >/dev/null || { echo "cargo-fuzz: cargo install cargo-fuzz --locked" >&2; exit 1; }
	@for target in $(TARGETS); do \
		echo "== fuzzing $$target"; \
		mkdir -p fuzz/target/corpus/$$target && \
		cargo fuzz run --sanitizer $(FUZZ_SANITIZER) $$target fuzz/target/corpus/$$target fuzz/corpus/$$target -- \
			-runs=$(FUZZ_RUNS) -max_len=2048 -timeout=10 -print_final_stats=1 || exit 1; \
	done

# The public benchmark, into docs/benchmark. Nothing else should be running.
bench:
	@$(PYTHON) tests/harness/prerequisites.py bench
	$(PYTHON) tests/load/bench.py $(CACHE) $(BENCH_ARGS)

# Their database must be there, unless AUDIT_ARGS="--if-reachable", with which CI says so where it is not.
audit:
	$(PYTHON) tests/harness/supply_chain.py $(CACHE) audit $(AUDIT_ARGS)

sbom:
	$(PYTHON) tests/harness/supply_chain.py $(CACHE) sbom $(SBOM) $(STATIC)

lint:
	@echo "== Python lints of tests and examples"
	$(PYTHON) tests/harness/lint.py $(CACHE)

# A plus before cargo lets it share the jobs of this make.
test-rust:
	@echo "== formatting, lints, unit tests, layers"
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	+cargo clippy --workspace --all-targets --locked -- -D warnings
	+cargo test --workspace --locked --quiet

test-django:
	@echo "== django-siding on the oldest and newest Django, lint, types"
	$(PYTHON) django/tests/matrix.py $(CACHE) --lint --quiet $(PYTEST_ARGS)

binaries:
	@echo "== static binaries: $(CRATES)"
	+CC_$(subst -,_,$(STATIC))=musl-gcc cargo build --release --locked --target $(STATIC) \
		$(addprefix -p ,$(CRATES))

environments:
	@echo "== environments of the end-to-end tests"
	$(PYTHON) tests/e2e/run.py $(CACHE) --prepare

test-e2e: binaries
	@echo "== end to end: real servers, SDKs, Siding"
	$(PYTHON) tests/e2e/run.py $(CACHE) --quiet $(PYTEST_ARGS)
