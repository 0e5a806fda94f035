PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
budget ?= quick

.DEFAULT_GOAL := help
.PHONY: help install demo lecture browser test test-all schema lint format bench clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

install: $(INSTALLED) ## make .venv and install everything into it, once

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(INSTALLED) ## train a ConvNet on drawn shapes, offline, in about a minute
	$(BIN)/python train.py experiment=demo

lecture: $(INSTALLED) ## run the lecture's claims, write lecture.html; make lecture budget=full: in 45 minutes
	$(BIN)/python lecture.py budget=$(budget) copy_to=lecture.html

browser: ## install Chromium, in which the page is tested (Debian and Ubuntu, as root)
	command -v chromium || { apt-get update && apt-get install --yes --no-install-recommends chromium; }

test: $(INSTALLED) ## run the tests, without the slow proofs
	$(BIN)/python -m pytest -m 'not slow'

test-all: $(INSTALLED) ## run every test
	$(BIN)/python -m pytest

schema: $(INSTALLED) ## write conf/schema/*.json, from which an editor knows the keys of conf/
	$(BIN)/python -m lecture4.commands.schema

lint: $(INSTALLED) ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED) ## mend style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED) ## measure speed against plain PyTorch and the usual pipeline
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/pipeline.py
	$(BIN)/python benchmarks/byhand.py

clean: ## remove .venv and caches; outputs and data stay
	rm -rf $(VENV) *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
