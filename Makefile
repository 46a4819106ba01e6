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
SERVERS ?=
export PYTHON VIDEO STORE REPORT

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PIP_INSTALL := $(PIP) install --require-hashes --only-binary :all:
PYTEST := $(BIN)/python -m pytest
# Any Python will do; not one that would have to be installed first.
INFRA = $(or $(wildcard $(BIN)/python),$(PYTHON),python3) -m infra
# Runs what follows while servers are up; those that it had to start are stopped afterwards.
WITH_SERVERS := $(BIN)/python -m infra during kafka minio versitygw --
PROTOS := $(wildcard protos/gim/wire/v1/*.proto)

.PHONY: help
help:  ## list the targets
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: .venv/.main  ## label the bundled clip, or VIDEO=<path | URL | YouTube id>; ARGS=... are passed on to `gim run`
	@scripts/run $(ARGS)

.PHONY: models
models: .venv/.models  ## put the learned matchers' packages (torch, kornia) into .venv
	@$(BIN)/gim ls matchers

.PHONY: services
services: .venv/.services  ## put what the services need (Kafka's, S3's and gRPC's clients) into .venv
	@$(BIN)/python -m pip --disable-pip-version-check check

.PHONY: demo
demo: .venv/.demo  ## open a page where two images are matched by matchers side by side; ARGS=... go to `gim demo`
	@$(BIN)/gim demo $(ARGS)

.PHONY: setup
setup: .venv/.dev  ## put everything, development tools included, into .venv
	@echo "ready: .venv/bin/gim"

.PHONY: test
test: .venv/.dev  ## run every test but the slow ones, on real servers; ARGS=... are passed on to pytest
	@scripts/chromium
	@$(WITH_SERVERS) $(PYTEST) -n $(WORKERS) --dist worksteal $(ARGS)

.PHONY: test-slow
test-slow: .venv/.dev  ## run the tests that take minutes
	@$(WITH_SERVERS) $(PYTEST) -m "slow and not cluster" -n $(WORKERS) --dist worksteal $(ARGS)

.PHONY: test-cluster
test-cluster: .venv/.dev  ## apply k8s/ to the cluster of KUBECONFIG, or to one that is started here, and test it
	@scripts/test-cluster $(ARGS)

.PHONY: servers-up
servers-up:  ## start Kafka, MinIO, versitygw, Prometheus and Alertmanager, or SERVERS=...; builds them the first time
	@$(INFRA) up $(SERVERS)

.PHONY: servers-down
servers-down:  ## stop them, or SERVERS=...; ARGS=--clean deletes what they hold
	@$(INFRA) down $(ARGS) $(SERVERS)

.PHONY: servers-status
servers-status:  ## show them, or SERVERS=...
	@$(INFRA) status $(SERVERS)

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

.PHONY: bench-matchers
bench-matchers: .venv/.dev  ## score and time the matchers; writes bench/results
	@$(BIN)/python -m bench accuracy matchers $(ARGS)

.PHONY: bench-eval
bench-eval: .venv/.dev  ## time the evaluator: metrics of all ZEB, poses beside a plain loop; writes bench/results
	@$(BIN)/python -m bench evaluation $(ARGS)

.PHONY: bench-training
bench-training: .venv/.dev  ## time the recipe tiny: pairs a second, waiting for data, parts of a step; writes bench/results
	@$(BIN)/python -m bench training $(ARGS)

.PHONY: experiment-video-labels
experiment-video-labels: .venv/.dev  ## train with and without video labels and propagation (hours); ARGS=--pairs N --seeds N
	@$(BIN)/python -m bench.video_labels $(ARGS)

.PHONY: bench-services
bench-services: .venv/.dev  ## measure the pipeline over Kafka, MinIO and gRPC against the embedded one; writes bench/results
	@$(BIN)/python -m infra install kafka minio ghz
	@$(WITH_SERVERS) $(BIN)/python -m bench services $(ARGS)

.PHONY: bench-images
bench-images: .venv/.dev  ## build the services' images from clean and again, and weigh them; writes bench/results
	@$(BIN)/python -m bench images $(ARGS)

.PHONY: parity
parity: .venv/.dev  ## compare every network with its original, number by number; writes docs/parity.md
	@$(BIN)/python -m bench.parity

.PHONY: protos
protos: .venv/.dev  ## remake gim/wire/v1 from protos/
	@$(BIN)/python -m grpc_tools.protoc --proto_path=protos --python_out=. --pyi_out=. $(PROTOS:protos/%=%)

.PHONY: dashboards
dashboards: .venv/.dev  ## remake Grafana's dashboards and the rules that are made from others
	@$(BIN)/python -m infra.dashboards

.PHONY: proto-check
proto-check:  ## check the style of protos/, and that nothing breaks what was published (buf)
	@$(INFRA) install buf
	@scripts/proto-check

.PHONY: lock
lock: .venv/.dev  ## pin the newest versions of all dependencies in constraints*.txt; ARGS=--keep leaves what is pinned
	@scripts/lock $(ARGS)

.PHONY: clean
clean:  ## remove what was installed and cached here; data/ and the servers (servers-down, .tools/) stay
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info
	@find gim infra tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

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

.venv/.services: .venv/.main constraints-services.txt
	@echo "installing the clients of Kafka, S3 and gRPC into .venv"
	@$(PIP_INSTALL) -r constraints.txt -r constraints-services.txt
	@touch $@

.venv/.models: .venv/.main constraints-models.txt
	@echo "installing torch and kornia into .venv: a large download"
	@$(PIP_INSTALL) -r constraints.txt -r constraints-models.txt
	@touch $@

.venv/.demo: .venv/.models constraints-demo.txt
	@echo "installing what the page of gim demo needs into .venv"
	@$(PIP_INSTALL) -r constraints.txt -r constraints-models.txt -r constraints-demo.txt
	@touch $@

.venv/.dev: .venv/.demo .venv/.services constraints-training.txt constraints-dev.txt
	@echo "installing the development tools into .venv"
	@$(PIP_INSTALL) -r constraints.txt -r constraints-models.txt -r constraints-demo.txt -r constraints-services.txt \
		-r constraints-training.txt -r constraints-dev.txt
	@touch $@
