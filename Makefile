# From a machine with Python 3.11 or newer to a run: `make demo`, `make test`.
# Choose the interpreter with PYTHON=..., the environment's folder with VENV=...

VENV ?= .venv
ifeq ($(origin PYTHON), undefined)
  # The first interpreter that is new enough and can make virtual environments.
  PYTHON := $(shell for python in python3 python3.11 python3.12 python3.13 python3.14 python; do \
    "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
      >/dev/null 2>&1 && { echo "$$python"; break; }; done)
endif

BIN := $(VENV)/bin
# Exact versions for checks; those of this Python, where there are some. `make test PINS=` takes the
# newest instead.
PINNED = $(wildcard .ci/constraints-*.txt)
PINS = $(addprefix --constraint=,$(wildcard .ci/constraints-$(shell $(BIN)/python -c \
  'import sys; print("%d.%d" % sys.version_info[:2])').txt))
# What `make constraints` makes such files for.
PYTHONS ?= python3.11 python3.12
# For `make test-lowest`: the oldest Python allowed, and an environment of its own.
OLDEST ?= python3.11
LOWEST ?= .venv-lowest
# Processes that share the tests.
WORKERS ?= 2
# Neighbours share what their module has made; who has finished takes from the other.
PYTEST = -m pytest -n $(WORKERS) --dist worksteal

.PHONY: demo test test-lowest lint docs constraints dependencies clean
.DEFAULT_GOAL := demo

demo: $(VENV)/installed
	$(BIN)/stanrovi demo --overwrite

# Matrices are small here: threads of the linear algebra would only wait for one another.
test: $(VENV)/installed-tests
	OPENBLAS_NUM_THREADS=1 $(BIN)/python $(PYTEST) $(PYTEST_ARGS)

# The same, without the longest and what rests on Python alone, on the lowest versions that pyproject.toml allows.
test-lowest: $(LOWEST)/installed-lowest
	OPENBLAS_NUM_THREADS=1 $(LOWEST)/bin/python $(PYTEST) -m "not slow and not interpreter" $(PYTEST_ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@# mypy looks packages up by their names as installed, and knows nothing of package-dir.
	mkdir -p $(VENV)/types
	ln -sfn $(CURDIR)/cli $(VENV)/types/stanrovi_cli
	ln -sfn $(CURDIR)/stan_models $(VENV)/types/stanrovi_stan_models
	MYPYPATH=$(VENV)/types $(BIN)/mypy

# The site, for docs/_build/html/index.html in a browser. Warnings are errors; every page is made
# anew, since a page that was read before warns no more. Notebooks run where they have changed.
docs: $(VENV)/installed-docs
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m sphinx --jobs $(WORKERS) --nitpicky --fail-on-warning \
	  --keep-going --fresh-env --write-all --quiet -d docs/_build/doctrees docs docs/_build/html

# The exact versions of the checks, made anew from pyproject.toml: the newest and the lowest.
constraints:
	$(firstword $(PYTHONS)) .ci/constraints.py $(PYTHONS)

# The tables of docs/reference/dependencies.md, from what is installed.
dependencies: $(VENV)/installed-tests
	$(BIN)/python .ci/dependencies.py

clean:
	rm -rf $(VENV) $(LOWEST) stanrovi-demo build dist docs/_build

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 with the venv module was found." \
	  "Install one (Debian: apt install python3-venv) or name it: make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet -e .
	touch $@

# The prophet wheel holds a real CmdStan executable, on which the CmdStan path is tested.
$(VENV)/installed-tests: $(BIN)/python pyproject.toml $(PINNED)
	$(BIN)/python -m pip install --quiet $(PINS) -e '.[test]'
	$(BIN)/python -m pip install --quiet $(PINS) --no-deps prophet
	touch $@

$(VENV)/installed-dev: $(VENV)/installed-tests
	$(BIN)/python -m pip install --quiet $(PINS) -e '.[dev]'
	touch $@

$(VENV)/installed-docs: $(BIN)/python pyproject.toml $(PINNED)
	$(BIN)/python -m pip install --quiet $(PINS) -e '.[docs]'
	touch $@

$(LOWEST)/installed-lowest: pyproject.toml $(PINNED)
	$(OLDEST) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --constraint .ci/constraints-lowest.txt -e '.[test]'
	$(LOWEST)/bin/python -m pip install --quiet --constraint .ci/constraints-lowest.txt --no-deps prophet
	touch $@
