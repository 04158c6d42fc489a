# The verbs of this repository. `make help` lists them.
PYTHON ?= python3
RATCHET = .venv/bin/ratchet
# Digests are no secrets; those two files hold made-up ones for redaction to find.
SECRETS = --disable-plugin HexHighEntropyString --disable-plugin Base64HighEntropyString \
  --exclude-lines 'user:password@' --exclude-files '^(constraints.*|tests/unit/shared/privacy/.*|tests/privacy/.*|docs/privacy\.md)$$'
export PYTHONDONTWRITEBYTECODE =# many images set it, and then every command compiles its imports again
.DEFAULT_GOAL := help
.PHONY: help setup venv up down demo test test-faults simulate test-clients soak check format house schemas flow migration env-example lock clean

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
	.venv/bin/python -m pytest -n 2 --dist loadfile $(ARGS)
test-faults: venv ## kill, stop, cut off and poison everything (FAULT_KILLS=1000 FAULT_SEED=7 ARGS="-k kills")
	.venv/bin/python -m pytest -m faults $(ARGS)
simulate: venv ## try every promise with a number on simulated truth; writes docs/guarantees.md
	OMP_NUM_THREADS=1 .venv/bin/python -m tests.simulations $(ARGS)
test-clients: venv ## try LangChain, pydantic-ai, the AI SDK and others against the router
	@test -x .clients/bin/python || $(PYTHON) -m venv .clients
	.clients/bin/pip install --quiet --requirement tests/clients/requirements.txt
	@command -v npm >/dev/null && cp tests/clients/package*.json .clients && npm ci --prefix .clients --no-fund --no-audit || echo "no npm: the clients in Node are left out"
	.venv/bin/python -m pytest tests/clients $(ARGS)
soak: venv ## how long a write waits while a service with 10 million rows tidies up (30 GB of disk, 15 minutes)
	.venv/bin/python -m benchmarks.soak $(ARGS)
check: venv ## format, lint, import contracts, types, spelling, secrets: what CI runs first
	.venv/bin/ruff format --check --quiet . || { echo "next: make format"; exit 1; }
	.venv/bin/ruff check --quiet .
	.venv/bin/lint-imports --no-logo >/dev/null || .venv/bin/lint-imports
	.venv/bin/mypy
	.venv/bin/typos
	git ls-files -z | xargs -0 .venv/bin/detect-secrets-hook $(SECRETS)
format: venv ## lay out every file, and mend what the linter can
	.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format .
house: venv ## print the figures the house is kept by (ARGS="FOLDER" measures another checkout)
	@.venv/bin/python -m tests.architecture.house $(ARGS)
schemas: venv ## regenerate schemas/json from the events
	.venv/bin/python -m infra.contracts schemas
flow: venv ## redraw docs/flow.md from schemas/topics.py
	.venv/bin/python -m infra.contracts flow
migration: venv ## write the next migration of each service whose tables changed (MESSAGE="what changes")
	.venv/bin/python -m infra.migrations "$(MESSAGE)"
env-example: venv ## write .env.example from the settings
	.venv/bin/python -m infra.local.env_example > .env.example
lock: venv ## write the lock lists: constraints.txt from what .venv holds, all with hashes
	.venv/bin/python -m infra.setup.lock write && .venv/bin/python -m infra.setup.lock rehash
clean: ## remove caches and build outputs (not .venv, not .ratchet)
	rm -rf .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis dist build && find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
