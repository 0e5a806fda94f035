PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
budget ?= quick
data ?= auto
page ?= lecture.html
PYTEST_ARGS ?=
# a process for each core, up to 3 GB each; tests/conftest.py gives each a single thread
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo lecture solutions browser test test-all test-oldest schema lint format bench clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 13

install: $(CORE) ## create .venv and install what train.py and the other scripts need

install-dev: $(DEV) ## also install what tests, benchmarks and every optional feature need

$(CORE): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	@touch $@

$(DEV): $(CORE)
	$(PIP) --editable '.[dev]'
	@touch $@

demo: $(CORE) ## train a ConvNet on drawn shapes, offline, in about a minute
	$(BIN)/python train.py experiment=demo

lecture: $(CORE) ## test the lecture's claims, write lecture.html; budget=full: more seeds, longer runs
	$(BIN)/python lecture.py budget=$(budget) data.name=$(data) copy_to=$(page)

solutions: ## copy the solved exercises of each style to solutions/
	mkdir -p solutions
	cp lecture4/lesson/exercises/solved/[a-z]*.py solutions/

browser: ## install Chromium for the tests of the page (Debian and Ubuntu, as root)
	command -v chromium || { apt-get update && apt-get install --yes --no-install-recommends chromium; }

test: $(DEV) ## run the tests that are not marked slow; PYTEST_ARGS=… goes to pytest
	$(PYTEST) -m 'not slow' $(PYTEST_ARGS)

test-all: $(DEV) ## run every test
	$(PYTEST) $(PYTEST_ARGS)

test-oldest: ## run make test's tests in .venv-oldest, with every lower bound of pyproject.toml
	PIP_CONSTRAINT=$(CURDIR)/tests/lower-bounds.txt $(MAKE) test VENV=.venv-oldest

schema: $(CORE) ## write conf/schema/*.json, from which an editor knows the keys of conf/
	$(BIN)/python -m lecture4.commands.schema

lint: $(DEV) ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV) ## fix style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV) ## measure speed against plain PyTorch and the usual pipeline
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/pipeline.py
	$(BIN)/python benchmarks/byhand.py
	$(BIN)/python benchmarks/image_folder.py

clean: ## remove .venv and caches; outputs and data stay
	rm -rf $(VENV) .venv-oldest *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
