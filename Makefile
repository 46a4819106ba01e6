# GIM: long-baseline training pairs for image matchers, from ordinary video. `make help` lists the targets.
#
# Everything is installed into .venv, with hashes verified; stamps below .venv make each step happen once.
# Paths are relative throughout, so the checkout may lie anywhere.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

STORE ?= data/store
REPORT ?= data/report.html
WORKERS ?= 2
ARGS ?=
export PYTHON VIDEO STORE REPORT

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PIP_INSTALL := $(PIP) install --require-hashes --only-binary :all:
PYTEST := $(BIN)/python -m pytest
PROTOS := $(wildcard protos/gim/wire/v1/*.proto)

.PHONY: help
help:  ## list the targets
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: .venv/.main  ## label the bundled clip, or VIDEO=<path | URL | YouTube id>; ARGS=... are passed on to `gim run`
	@scripts/run $(ARGS)

.PHONY: setup
setup: .venv/.dev  ## put everything, development tools included, into .venv
	@echo "ready: .venv/bin/gim"

.PHONY: test
test: .venv/.dev  ## run every test but the slow ones; ARGS=... are passed on to pytest
	@scripts/chromium
	@$(PYTEST) -n $(WORKERS) $(ARGS)

.PHONY: test-slow
test-slow: .venv/.dev  ## run the tests that take minutes
	@$(PYTEST) -m slow $(ARGS)

.PHONY: lint
lint: .venv/.dev  ## check style, format and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports

.PHONY: types
types: .venv/.dev  ## check types
	@$(BIN)/mypy

.PHONY: bench
bench: .venv/.dev  ## time the whole run against a plain script; writes bench/results
	@$(BIN)/python -m bench $(ARGS)

.PHONY: protos
protos: .venv/.dev  ## remake gim/wire/v1 from protos/
	@$(BIN)/python -m grpc_tools.protoc --proto_path=protos --python_out=. --pyi_out=. $(PROTOS:protos/%=%)

.PHONY: lock
lock: .venv/.dev  ## pin the newest versions of all dependencies in constraints*.txt
	@scripts/lock

.PHONY: clean
clean:  ## remove what was installed and cached here; data/ stays
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info
	@find gim tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.main: scripts/venv constraints.txt pyproject.toml
	@scripts/venv
	@echo "installing what the main job needs into .venv"
	@$(PIP_INSTALL) -r constraints.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.youtube: .venv/.main constraints-youtube.txt
	@echo "installing what YouTube's player needs into .venv"
	@$(PIP_INSTALL) -r constraints-youtube.txt
	@touch $@

.venv/.dev: .venv/.main constraints-dev.txt
	@echo "installing the development tools into .venv"
	@$(PIP_INSTALL) -r constraints.txt -r constraints-dev.txt
	@touch $@
