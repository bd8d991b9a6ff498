# Every target sets up what it needs; `make help` lists them.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_MODELS := smollm2-135m-instruct qwen2.5-coder-0.5b-instruct all-minilm-l6-v2

.PHONY: help setup models serve test test-unit lint typecheck format bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make .venv and install Headrace with its development tools

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Headrace needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

models: setup ## Pull the three models of the demo profile
	$(BIN)/headrace models pull $(DEMO_MODELS)

serve: models ## Bring up the production graph on 127.0.0.1:8000; Ctrl-C ends it
	$(BIN)/headrace serve

test: models ## Run all tests: unit, real models, real Ray
	$(BIN)/pytest -q

test-unit: setup ## Run the unit tests: no Ray, no model
	$(BIN)/pytest -q tests/unit

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

bench: models ## Run the benches; results go to bench/results/
	@for name in engine quantisation router router_card router_hop routing cascade semantic_cache node_speed autoscale_sim ledger ledger_scale ledger_chaos readme_figures; do echo "== bench.$$name"; $(BIN)/python -m bench.$$name || exit 1; done

clean: ## Remove the virtual environment and caches of tools
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
