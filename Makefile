# Two commands: `make up` and `make test`. Each starts from a bare clone.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PY := .venv/bin/python
PYTEST := $(PY) -m pytest
# Tests wait more than they compute: one process more than there are processors.
WORKERS ?= $(shell expr $$(nproc) + 1)
QUICK := $(PYTEST) -m "not soak" -n $(WORKERS) --dist loadfile

.PHONY: help up test test-all lint format docs lock bench clean run-environment dev-environment

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

up: run-environment  ## mount a volume on ./mnt and serve it over WebDAV, until Ctrl-C
	@exec .venv/bin/graviton up --data ./graviton-data --mount ./mnt

test: lint       ## the whole quick suite, real mounts included
	$(QUICK)

test-all: lint   ## also soak, long fuzzing and the comparison with other systems
	$(QUICK)
	$(PYTEST) -m soak
	$(PY) -m tests.benchmarks.compare

lint: dev-environment  ## ruff, mypy, import directions
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

format: dev-environment  ## let ruff put the code in order
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .

docs: dev-environment  ## build the documentation's site into build/site
	.venv/bin/zensical build --strict --clean

lock: dev-environment  ## pin the newest dependencies that pyproject.toml allows
	tools/lock --upgrade

bench: dev-environment  ## compare with JuiceFS, rclone and a do-nothing file system; writes docs/benchmarks.md
	$(PY) -m tests.benchmarks.compare

clean:           ## remove everything made here except the data of `make up`
	rm -rf .venv .bench .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

run-environment:
	@[ -n "$(SKIP_SYSTEM_PACKAGES)" ] || tools/system-packages run
	@tools/environment run

dev-environment:
	@[ -n "$(SKIP_SYSTEM_PACKAGES)" ] || tools/system-packages test
	@tools/environment dev
