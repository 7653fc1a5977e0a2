# Targets set up what they need. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: venv
venv: $(STAMP) ## Make the environment in .venv (Python 3.11 or later)

$(STAMP): setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; set PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (the first time takes a few minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[local,dev]'
	@touch $@

.PHONY: demo
demo: venv ## Six generated sources, two nights, 1,000 people, to demo/cdm.duckdb
	@$(BIN)/nhs-omop demo

.PHONY: test
test: venv ## All tests, in two processes (Spark tests need Java 17 or later)
	@$(PYTEST) --numprocesses 2 --dist loadscope --no-loadscope-reorder

.PHONY: test-embedded
test-embedded: venv ## The quick loop: everything but whole runs and Spark
	@$(PYTEST) -m "not spark and not e2e"

.PHONY: test-e2e
test-e2e: venv ## Whole runs on generated extracts, embedded engine
	@$(PYTEST) -m e2e

.PHONY: test-spark
test-spark: venv ## Tests on local Spark with Delta, engine parity among them
	@$(PYTEST) -m spark

.PHONY: check
check: venv ## Style, types, imports between rooms
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(PYTEST) -q tests/architecture

.PHONY: format
format: venv ## Put the code into the house style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: golden-lock
golden-lock: venv ## Agree on changed mapping rules with their golden patients (tests/golden)
	@$(BIN)/python -m tests.golden.rules_lock

.PHONY: bench
bench: venv ## Rows per second, time and memory of each stage for 20,000 people
	@$(BIN)/nhs-omop bench

.PHONY: docs
docs: venv ## Write the pages of the mappings (docs/mappings) from the mapping files
	@$(BIN)/nhs-omop mapping-docs --out docs/mappings

.PHONY: constraints
constraints: venv ## Pin what is installed now
	@{ echo "# Every package of the tested environment, exactly. Written by: make constraints"; \
	   $(BIN)/python -m pip freeze --exclude-editable; } > constraints.txt

.PHONY: clean
clean: ## Remove everything that was made, the environment and downloaded jars excepted
	@rm -rf demo build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
