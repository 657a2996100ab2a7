.DEFAULT_GOAL := help
.PHONY: help bench demo load test test-rust test-django test-e2e lint prerequisites

PYTHON ?= python3
# Virtual environments, made once and kept.
CACHE := $(or $(SIDING_CACHE),.cache)

help:
	@echo "make demo          load a Django app directly and through Siding, and compare"
	@echo "make demo STAY=1   the same, and leave everything up until Ctrl-C"
	@echo "make test          every test, as CI runs them; sets up what it needs"
	@echo "make bench         compare seven servers, for half an hour (BENCH_ARGS=\"--quick --only siding\" does less)"
	@echo "make load          measure the figures that Siding promises (FIGURE=\"name\" picks some)"
	@echo "make test-rust | test-django | test-e2e    parts of it (PYTEST_ARGS=\"-k name\" picks tests)"

demo:
	@$(PYTHON) examples/demo/demo.py

test: prerequisites lint test-rust test-django test-e2e
	@echo "== every test passed"

prerequisites:
	@$(PYTHON) tests/harness/prerequisites.py test

# Each figure on its own: make load FIGURE="worker_cost". Nothing else should be running.
load:
	$(PYTHON) tests/load/run.py $(CACHE) $(FIGURE)

# The public benchmark, into docs/benchmark. Nothing else should be running.
bench:
	@$(PYTHON) tests/harness/prerequisites.py bench
	$(PYTHON) tests/load/bench.py $(CACHE) $(BENCH_ARGS)

lint:
	@echo "== Python lints of tests and examples"
	$(PYTHON) tests/harness/lint.py $(CACHE)

test-rust:
	@echo "== formatting, lints, unit tests, layers"
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --workspace --locked --quiet

test-django:
	@echo "== django-siding on the oldest and newest Django, lint, types"
	$(PYTHON) django/tests/matrix.py $(CACHE) --lint --quiet $(PYTEST_ARGS)

test-e2e:
	@echo "== end to end: real servers, SDKs, Siding"
	cargo build --release --locked -p siding -p simulated-llm -p load-driver
	$(PYTHON) tests/e2e/run.py $(CACHE) --quiet $(PYTEST_ARGS)
