# Set-up, tests and checks. `make help` lists the targets; each one sets up what it needs.
# Everything is installed into .venv from the hash-locked files in requirements/, as wheels only, so that
# nothing of a third party runs while it is installed.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Workers of the test runner; a file's tests stay on one of them.
JOBS   ?= 2
# A release younger than this is not locked: time for others to find a stolen publishing token.
COOLDOWN ?= 3 days
ARGS   ?=
QUICK  := -m "not long and not real_time" -n $(JOBS) --dist loadfile
# What differs between platforms (loops, sockets, processes, files) and what is built on it; of the faults all but the
# table's cells, which take as long as all of this. `test-portable` has them too.
PLATFORM := tests/acceptance tests/unit/transport tests/unit/gateway tests/unit/engines tests/unit/ledger tests/unit/cli \
            tests/unit/testing tests/unit/test_client.py tests/faults --ignore-glob='*/test_faults_*.py'

PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --exclude-newer "$(COOLDOWN)" \
        --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" --quiet

export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo setup test test-long test-portable faults faults-table dialects-table bench lint format lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(VENV)/runtime.stamp ## a question answered by a real model on this machine, without a key
	$(BIN)/trivium models pull smollm2-135m --yes
	$(BIN)/trivium ask --model local/smollm2-135m --max-tokens 60 "What is the capital of France?"

setup: $(VENV)/dev.stamp ## the environment for work on the code

test: $(VENV)/dev.stamp ## the whole suite but its long cases (at most 15 minutes on two cores)
	$(if $(ARGS),,TRIVIUM_PORTABLE=1 $(BIN)/pytest $(QUICK) $(PLATFORM))
	$(BIN)/pytest $(QUICK) $(ARGS)

test-long: test-portable ## the long cases: kills, soak, other servers and clients, and the suite as on other platforms
	-$(BIN)/python tools/fetch_clients.py
	$(BIN)/pytest -m "not long" tests/acceptance/claude_code tests/acceptance/codex tests/acceptance/gemini_cli $(ARGS)
	$(BIN)/pytest -m long --timeout 1800 $(ARGS)

test-portable: $(VENV)/dev.stamp ## the suite as on other platforms: no uvloop, spawned, TCP for Unix sockets, one process
	TRIVIUM_PORTABLE=1 $(BIN)/pytest $(QUICK) $(ARGS)

faults: $(VENV)/dev.stamp ## the fault suite, one combination of each case at the real time-outs too
	$(BIN)/pytest tests/faults -m "long or not long" --timeout 1800 $(ARGS)

faults-table: $(VENV)/dev.stamp ## ask the fault table once and write docs/faults.md
	PYTHONPATH=tests $(BIN)/python -m faults.table docs/faults.md

dialects-table: $(VENV)/dev.stamp ## ask each pair of dialects once and write docs/dialects.md
	PYTHONPATH=tests $(BIN)/python -m matrix.table docs/dialects.md

bench: $(VENV)/dev.stamp ## measure the data plane beside its peers
	$(BIN)/python bench/bench.py --install nginx litellm rolter
	$(BIN)/python bench/bench.py --rounds 5 direct nginx trivium rolter litellm $(ARGS)

lint: $(VENV)/dev.stamp ## style, types, import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache

format: $(VENV)/dev.stamp ## let ruff lay the code out
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

lock: $(VENV)/dev.stamp ## resolve pyproject.toml anew into requirements/
	$(LOCK) --upgrade --extra local --group build -o requirements/runtime.txt
	$(LOCK) --upgrade --all-extras --group build --group dev -c requirements/runtime.txt -o requirements/dev.txt

clean: ## remove the environment and everything generated
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Trivium needs Python 3.11 or later; $(PYTHON) is {sys.version.split()[0]}. Name another: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)

# Two sizes of one environment: dev.txt repeats every pin of runtime.txt.
$(VENV)/%.stamp: requirements/%.txt pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --require-hashes --only-binary :all: -r $<
	$(PIP) install --quiet --no-deps --no-index --no-build-isolation -e .
	@touch $@
