# Every target sets up what it needs; `make help` lists them.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
SERVES := $(VENV)/.serves
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1
UNIT := $(BIN)/pytest -q -n 2 --dist loadfile -p no:schemathesis -p no:langsmith_plugin tests/unit
DEMO_MODELS := smollm2-135m-instruct qwen2.5-coder-0.5b-instruct all-minilm-l6-v2

.PHONY: help setup models serve docs test test-cluster test-unit lint typecheck format bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make .venv and install Headrace with its development tools

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Headrace needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --editable '.[dev]'
	@touch $@ $(SERVES)

$(SERVES): pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --editable .
	@touch $@

models: $(SERVES) ## Pull the three models of the demo profile
	$(BIN)/headrace models pull $(DEMO_MODELS)

serve: models ## Bring up the production graph on 127.0.0.1:8000; Ctrl-C ends it
	$(BIN)/headrace serve

test: setup models ## Run unit tests, real models and real Ray, but for what `test-cluster` runs
	$(UNIT)
	$(BIN)/pytest -q -m "not cluster" --ignore=tests/unit

test-cluster: setup models ## Run the long ones: running graphs are killed, updated, scaled; several nodes
	$(BIN)/pytest -q -m cluster

test-unit: setup ## Run the unit tests, on two cores, with a fifth of the examples and no simulations: no Ray, no model, no server
	$(UNIT) --hypothesis-profile=quick -m "not simulation"

docs: setup ## Build the documentation into build/site; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: setup ## Check format, lint, layers and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

typecheck: setup ## Check types only
	$(BIN)/mypy

format: setup ## Format and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup models ## Run all benches, then the report; results go to bench/results/ (make bench BENCH=--quick)
	$(BIN)/python -m bench.all $(BENCH)

clean: ## Remove the virtual environment and caches of tools
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info build
