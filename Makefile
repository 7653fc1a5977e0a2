# Targets set up what they need. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash

SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c '$(SUPPORTED)' 2>/dev/null && command -v $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCKS := conf/requirements
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: venv
venv: $(STAMP) ## Make the environment in .venv (Python 3.11, 3.12 or 3.13)

$(STAMP): setup.py $(LOCKS)/development.txt
	@$(or $(PYTHON),false) -c '$(SUPPORTED)' || { echo "Python 3.11, 3.12 or 3.13 is needed; set PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (the first time takes a few minutes)"
	@$(PIP) install --no-compile --require-hashes --requirement $(LOCKS)/development.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: demo
demo: venv ## Six generated sources, two nights, 1,000 people, to demo/cdm.duckdb
	@$(BIN)/nhs-omop demo

.PHONY: test
test: venv ## All tests, those that `check` has run just before left out (Spark tests need Java 17 or later)
	@$(PYTEST) --numprocesses 2 --dist loadscope --no-loadscope-reorder $(if $(filter check,$(MAKECMDGOALS)),--ignore=tests/architecture)

.PHONY: test-embedded
test-embedded: venv ## The quick loop: everything but whole runs and Spark
	@$(PYTEST) -m "not spark and not e2e"

.PHONY: test-e2e
test-e2e: venv ## Whole runs on generated extracts, embedded engine
	@$(PYTEST) -m e2e

.PHONY: test-spark
test-spark: venv ## Tests on local Spark with Delta, engine parity among them
	@$(PYTEST) -m spark

.PHONY: test-deep
test-deep: venv ## Random histories of nights, each against one full build: hours
	@$(PYTEST) --deep --numprocesses 2

.PHONY: check
check: venv ## Style, types, imports between packages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory --jobs 2 --output-sync types architecture

.PHONY: types architecture
types: venv
	@$(BIN)/mypy
architecture: venv
	@$(PYTEST) -q --numprocesses 2 tests/architecture

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
docs: venv ## Write the pages of mappings and tables from the mapping files and the declarations
	@$(BIN)/nhs-omop mapping-docs --out docs/mappings
	@$(BIN)/nhs-omop table-docs --out docs

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make constraints (UPGRADE=1 for newer versions)' $(if $(UPGRADE),--upgrade)

.PHONY: constraints
constraints: venv ## Pin every package with its hashes (conf/requirements); UPGRADE=1 takes newer versions
	@$(COMPILE) setup.py --extra spark --extra dev --output-file $(LOCKS)/development.txt
	@$(COMPILE) setup.py --constraint $(LOCKS)/development.txt --output-file $(LOCKS)/base.txt
	@$(COMPILE) setup.py --constraint $(LOCKS)/development.txt --extra embedded --output-file $(LOCKS)/embedded.txt
	@$(COMPILE) setup.py --constraint $(LOCKS)/development.txt --no-generate-hashes --output-file $(LOCKS)/serverless.txt

.PHONY: clean
clean: ## Remove everything that was made, the environment and downloaded jars excepted
	@rm -rf demo build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
