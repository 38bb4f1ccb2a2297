# Everything one does with FlockIQ. Each command works from a bare clone with Python 3.13 and make.
.DEFAULT_GOAL := help
.PHONY: help run check test lint types format schemas kill-test backfill-test azure-storm test-emulators test-live convergence bench cost package clean
MAKEFLAGS += --no-print-directory

PYTHON := .venv/bin/python
LOCAL := .venv/.local
DEV := .venv/.dev
N ?= 20
MAKE_CODE = $(PYTHON) -m flockiq.shared.machine.apart flockiq
COMPILE = echo "Making machine code (a minute or two; an app that lacks it makes it while it works)"; \
	$(MAKE_CODE).pipeline.compiled & pipeline=$$!; $(MAKE_CODE).merge.compiled; merge=$$?; \
	wait $$pipeline && [ $$merge -eq 0 ] || echo "It can't be made here; the app works without, slower"

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(LOCAL) ## Run FlockIQ here with its sample systems; ARGS="--duration 60 --summary out.json", ARGS=--help
	@$(PYTHON) -m flockiq run $(ARGS)

check: $(LOCAL) ## Check the config; ARGS="--config DIR"
	@$(PYTHON) -m flockiq check $(ARGS)

test: MARK = not slow
test: $(DEV) ## Run the tests; ARGS="tests/merge -k late", MARK=slow for those that take minutes
	@$(PYTHON) -m pytest -q -n 2 --dist loadfile -m "$(MARK)" $(ARGS)

lint: $(DEV) ## Check style and formatting
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check

types: $(DEV) ## Check types
	@.venv/bin/mypy

format: $(DEV) ## Format the code and mend what lint can mend
	@.venv/bin/ruff format
	@.venv/bin/ruff check --fix

schemas: $(LOCAL) ## Write what is made from the models: the config's JSON Schemas, the API's description, the Eventhouse's mappings
	@$(PYTHON) -m flockiq.shared.config.schemas
	@$(PYTHON) -m flockiq.cli.openapi
	@$(PYTHON) -m flockiq.cli.mappings

kill-test: $(DEV) ## Kill the app N times (N=20) and compare with a clean replay
	@$(PYTHON) -m flockiq kill-test --kills $(N) $(ARGS)

backfill-test: $(DEV) ## Kill the app N times (N=20) in a backfill of 100,000 records and look for every one
	@$(PYTHON) -m flockiq backfill-test --kills $(N) $(ARGS)

azure-storm: N = 6
azure-storm: $(DEV) ## Storm the app on Azure's adapters: faults at every port, N kills (N=6); SEED=1, ARGS="--ports events"
	@$(PYTHON) -m tests.azure.storm.main --kills $(N) --seed $(or $(SEED),1) $(ARGS)

test-emulators: $(DEV) ## Conformance over Microsoft's emulators, in containers; ARGS="--keep -k events"
	@$(PYTHON) -m tests.endpoints.main emulators $(ARGS)

test-live: $(DEV) ## Conformance over a real resource group, by az login; ARGS="--group NAME"
	@$(PYTHON) -m tests.endpoints.main live $(ARGS)

convergence: N = 1000
convergence: $(DEV) ## Hold N histories (N=1000) in every order against a row-by-row reference; ARGS="--seed 7"
	@$(PYTHON) -m tests.convergence.main --cases $(N) $(ARGS)

bench: $(DEV) ## Measure speed; ONLY=engine|peers|growth|pipeline|capture|cold-start|azure, ARGS="--events 200000"
	@$(PYTHON) -m flockiq.bench.main $(if $(ONLY),--only $(ONLY)) $(ARGS)

cost: $(DEV) ## What a million changes cost in Azure; docs/cost.md quotes it
	@$(PYTHON) -m flockiq.bench.cost $(ARGS)

package: $(DEV) ## Build the zip that is deployed; ARGS="--to FILE"
	@$(PYTHON) -m flockiq.local.package $(ARGS)

clean: ## Remove .venv, caches and the data folder of earlier runs
	@rm -rf .venv data .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(LOCAL): requirements.txt requirements-local.txt
	@.ci/venv requirements-local.txt
	@$(COMPILE)
	@touch $@

$(DEV): requirements.txt requirements-local.txt requirements-dev.txt
	@.ci/venv requirements-dev.txt
	@$(COMPILE)
	@touch $(LOCAL) $@
