# Two commands do everything: `make run` and `make test`. Both install what is missing, say what they do, and can be
# repeated. CONTRIBUTING.md tells how to run a part of them in seconds.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := target/debug
PYTHON := .cache/venv/bin/python
MODELS := .cache/models
UI_SOURCES := $(shell find ui -type f -not -path 'ui/dist/*' 2>/dev/null)

.PHONY: help run test unit e2e lint fmt bench truth-report coverage release build setup setup-test bindings clean

help: ## What can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: setup build ## Install what is missing, build, and open the window (or the terminal dashboard)
	$(BIN)/dualgpuopt $(ARGS)

test: setup-test build-tests ## Install what is missing and run every suite
	node tests/run.mjs

unit: node_modules/.package-lock.json ui/dist/index.html ## Rust tests and page tests only
	node tests/run.mjs rust ui-unit

e2e: setup-test build-tests ## Browser and window tests only
	node tests/run.mjs browser window

lint: node_modules/.package-lock.json ui/dist/index.html ## Formatting, clippy, svelte-check, eslint
	node tests/run.mjs fmt clippy ui-check ui-lint

fmt: ## Format the Rust sources
	cargo fmt --all

bench: ui/dist/index.html build-tests ## Benchmarks of reading and planning
	cargo bench -p dualgpuopt-tests

truth-report: ## Rules against llama.cpp's recorded allocations, as tables in Markdown
	@cargo test --quiet --package dualgpuopt-core --test ground_truth -- --ignored --nocapture report

coverage: build-tests ## Line coverage of the core (needs cargo-llvm-cov)
	cargo llvm-cov --package dualgpuopt-core --package dualgpuopt-model --summary-only

release: setup ui/dist/index.html ## Optimised programs in target/release
	cargo build --release --package dualgpuopt-cli --package dualgpuopt-desktop

bindings: ui/dist/index.html ## Write ui/src/ipc/bindings.ts anew from the Rust types
	UPDATE=1 cargo test --package dualgpuopt-tests --test it -- bindings

setup: ## Install what building and running need
	@.config/setup.sh run

setup-test: ## Install what the tests need as well
	@.config/setup.sh test

build: ui/dist/index.html
	cargo build --package dualgpuopt-cli --package dualgpuopt-desktop

.PHONY: build-tests
build-tests: ui/dist/index.html $(MODELS)/tiny.gguf
	cargo build --workspace --all-targets

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-audit --no-fund
	@touch $@

ui/dist/index.html: node_modules/.package-lock.json vite.config.ts $(UI_SOURCES)
	npm run --silent build
	@touch $@

$(PYTHON): tests/engine/requirements.txt
	python3 -m venv .cache/venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(MODELS)/tiny.gguf: tests/fixtures/make_models.py $(PYTHON)
	$(PYTHON) tests/fixtures/make_models.py $(MODELS)
	@touch $@

clean: ## Remove everything that was built or fetched
	rm -rf target node_modules ui/dist .cache artifacts
