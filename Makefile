# `make demo` and `make test` are all that a newcomer needs. Both make their own .venv first;
# `make help` lists the rest. Another interpreter: `make test PYTHON=python3.13`.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PY     := $(BIN)/python
UV     := $(shell command -v uv 2>/dev/null)
# Workers for the tests: the in-process model uses two threads of its own, so more would only queue.
WORKERS ?= 2
# Those that run by themselves; the others in benchmarks/ need data or an argument, and say so.
BENCHES ?= import_time overhead adapters ledger policy_check leak engine

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint format bench docs clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(VENV)/.runtime  ## a real local model, a cloud (or its stand-in), a staged outage
	@$(BIN)/hybridinfer demo

test: $(VENV)/.dev  ## every test but the slow ones, with coverage
	@$(PY) -m pytest -m "not slow" -n $(WORKERS) --dist loadfile --cov --cov-fail-under=95 $(ARGS)

test-slow: $(VENV)/.dev  ## the tests that take minutes
	@$(PY) -m pytest -m slow $(ARGS)

lint: $(VENV)/.dev  ## ruff, mypy, pyright, import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## let ruff lay out the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.dev  ## measure what the README claims
	@for name in $(BENCHES); do echo "== $$name"; $(PY) -m benchmarks.$$name || exit 1; done

docs: $(VENV)/.runtime  ## write docs/reference.md, docs/cli.md and the list of decisions
	@$(PY) docs/build_reference.py

clean:  ## remove the virtual environment and every cache in this folder
	rm -rf $(VENV) .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: made again when pyproject.toml changes, otherwise `make` starts at once.

$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "No $(PYTHON) found. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "hybridinfer needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)." >&2; \
	  echo "Name a newer one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
ifdef UV
	@$(UV) venv --quiet --seed --python "$$(command -v $(PYTHON))" --clear $(VENV)
else
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "Python's venv module is missing. On Debian and Ubuntu: apt install python3-venv" >&2; \
	  rm -rf $(VENV); exit 1; }
endif
	@touch $@

$(VENV)/.runtime: pyproject.toml | $(VENV)/.made
	@echo "Installing hybridinfer into $(VENV) (once; about a minute) ..."
ifdef UV
	@$(UV) pip install --quiet --python $(PY) -e .
else
	@$(PY) -m pip install --quiet --disable-pip-version-check -e .
endif
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.runtime
	@echo "Installing the development tools into $(VENV) (once) ..."
ifdef UV
	@$(UV) pip install --quiet --python $(PY) --group dev
else
	@$(PY) -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'  # knows --group
	@$(PY) -m pip install --quiet --disable-pip-version-check --group dev
endif
	@touch $@
