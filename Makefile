# The verbs of this repository. `make help` lists them.
PYTHON ?= python3
RATCHET = .venv/bin/ratchet
export PYTHONDONTWRITEBYTECODE =# many images set it, and then every command compiles its imports again
.DEFAULT_GOAL := help
.PHONY: help setup venv up down demo test test-faults lint types schemas flow migration lock clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile
venv: ## make or refresh .venv (enough for tests)
	@$(PYTHON) -m infra.setup services
setup: ## make this machine ready: .venv, vLLM's environment, the base model
	@$(PYTHON) -m infra.setup all
up: setup ## start the whole system (ARGS="..." goes to ratchet up)
	@$(RATCHET) up $(ARGS)
down: ## stop it
	@$(RATCHET) down $(ARGS)
demo: setup ## close the loop twice, from wrong answers to better ones (ARGS="...")
	@$(RATCHET) demo $(ARGS)
test: venv ## unit, contract and pipeline tests (ARGS="tests/unit -k gate")
	.venv/bin/python -m pytest $(ARGS)
test-faults: venv ## kill, stop, cut off and poison everything (FAULT_KILLS=1000 FAULT_SEED=7 ARGS="-k kills")
	.venv/bin/python -m pytest tests/faults tests/integration/test_training.py -m "faults or not faults" $(ARGS)
lint: venv ## ruff and the import contracts
	.venv/bin/ruff check . && .venv/bin/lint-imports
types: venv ## mypy
	.venv/bin/mypy services shared schemas infra
schemas: venv ## regenerate schemas/json from the events
	.venv/bin/python -m infra.contracts schemas
flow: venv ## redraw docs/flow.md from schemas/topics.py
	.venv/bin/python -m infra.contracts flow
migration: venv ## write the next migration of each service whose tables changed (MESSAGE="what changes")
	.venv/bin/python -m infra.migrations "$(MESSAGE)"
lock: venv ## write constraints.txt from what .venv holds
	@{ head -1 constraints.txt; .venv/bin/python -m pip freeze --all --exclude-editable | sed -n '/^pip==/d; s/+cpu$$//; /==/p' | LC_ALL=C sort -f; } > constraints.new && mv constraints.new constraints.txt
clean: ## remove caches and build outputs (not .venv, not .ratchet)
	rm -rf .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis dist build && find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
