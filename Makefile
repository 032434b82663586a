# Two commands do everything: `make run` and `make test`. Both install what is missing, say what they do, and can be
# repeated. CONTRIBUTING.md tells how to run a part of them in seconds.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# One thing after the other: what is built needs what is installed before it, and cargo uses all cores by itself.
.NOTPARALLEL:

BIN := target/debug
PREFIX ?= $(HOME)/.local
VENV := .cache/venv
PYTHON := $(VENV)/bin/python
MODELS := .cache/models
HF := .cache/hf
MINUTES ?= 30
UI_SOURCES := $(shell find ui -type f -not -path 'ui/dist/*' 2>/dev/null)

.PHONY: help run test unit e2e lint fmt bench bench-peers rpc-check fuzz truth-report speed-report coverage release install bindings pictures setup setup-test build build-tests clean

help: ## What can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: setup build ## Install what is missing, build, and open the window (or the terminal dashboard)
	$(BIN)/dualgpuopt $(ARGS)

test: setup-test build-tests ## Install what is missing and run every suite
	node tests/run.mjs

unit: setup-test build-tests ## Rust tests and page tests only
	node tests/run.mjs rust ui-unit

e2e: setup-test build-tests ## Browser and window tests only
	node tests/run.mjs browser window

lint: setup-test ui/dist/index.html ## Formatting, clippy, svelte-check, eslint
	node tests/run.mjs fmt clippy ui-check ui-lint

fmt: ## Format the Rust sources
	cargo fmt --all

bench: setup-test $(MODELS)/tiny.gguf ## Benchmarks of reading and planning
	cargo bench -p dualgpuopt-bench

bench-peers: ui/dist/index.html ## Accuracy and time beside llama.cpp's own dry run and --fit, on recorded starts
	cargo bench --quiet --package dualgpuopt-bench --bench peers

rpc-check: $(VENV)/.ready ## Random plans run by the real llama.cpp, RPC servers for GPUs (builds it first: ten minutes)
	DUALGPUOPT_TEST_LLAMA=$$(python3 tests/rpc/build.py) \
	  cargo test --package dualgpuopt-tests --test rpc -- --nocapture

fuzz: ## Hostile bytes for the readers of models, MINUTES=30 for each (needs cargo-fuzz)
	for reader in gguf safetensors config; do \
	  mkdir -p tests/fuzz/target/corpus/$$reader; \
	  RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz -s none $$reader \
	    tests/fuzz/target/corpus/$$reader tests/fuzz/corpus/$$reader tests/fixtures/malformed \
	    -- -max_total_time=$$(( $(MINUTES) * 60 )) -timeout=30 -rss_limit_mb=1024 -max_len=65536 \
	    -dict=tests/fuzz/words/$$reader.dict; \
	done

truth-report: ## Hold the rules against llama.cpp's recorded allocations, and write the tables in ARCHITECTURE.md anew
	UPDATE=1 cargo test --package dualgpuopt-core --test ground_truth

speed-report: ## Fit the speed model to published runs anew, and write its table in ARCHITECTURE.md
	UPDATE=1 cargo test --package dualgpuopt-core --test speed -- the_coefficients
	UPDATE=1 cargo test --package dualgpuopt-core --test speed -- the_table

coverage: build-tests ## Line coverage of the core (needs cargo-llvm-cov)
	cargo llvm-cov --package dualgpuopt-core --package dualgpuopt-model --summary-only

release: setup ui/dist/index.html ## Optimised programs in target/release
	cargo build --release --package dualgpuopt-cli --package dualgpuopt-desktop

install: release ## Put the optimised programs in PREFIX/bin (~/.local/bin)
	install -D -t $(PREFIX)/bin target/release/dualgpuopt target/release/dualgpuopt-desktop

bindings: ui/dist/index.html ## Write ui/src/ipc/bindings.ts anew from the Rust types
	UPDATE=1 cargo test --package dualgpuopt-tests --test it -- bindings

pictures: setup-test build-tests ## Take the README's pictures of the real window anew
	npx playwright test --config tests/e2e/playwright.config.ts --project pictures

setup: ## Install what building and running need
	@.config/setup.sh run

setup-test: ## Install what the tests need as well
	@.config/setup.sh test

build: ui/dist/index.html
	cargo build --package dualgpuopt-cli --package dualgpuopt-desktop

build-tests: ui/dist/index.html $(MODELS)/tiny.gguf $(HF)/published.tsv
	cargo build --workspace --all-targets

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-audit --no-fund
	@touch $@

ui/dist/index.html: node_modules/.package-lock.json vite.config.ts $(UI_SOURCES)
	npm run --silent build
	@touch $@

# A stamp of its own: the interpreter in a virtual environment is a link to the system's.
$(VENV)/.ready: tests/engine/requirements.txt
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(MODELS)/tiny.gguf: tests/fixtures/make_models.py $(VENV)/.ready
	$(PYTHON) tests/fixtures/make_models.py $(MODELS)
	@touch $@

$(HF)/published.tsv: tests/fixtures/make_hf.py tests/fixtures/hf_models.py $(VENV)/.ready
	$(PYTHON) tests/fixtures/make_hf.py $(HF)

clean: ## Remove everything that was built or fetched
	rm -rf target node_modules ui/dist .cache artifacts
