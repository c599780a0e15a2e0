# Two commands for a newcomer: `make demo` and `make test`. `make help` lists all of them.
PYTHON ?= python3
# Where PyTorch comes from, if not from the package index: its CPU-only index, say. See README.md.
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READY := $(VENV)/ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow clean

help:  ## This list
	@sed -n 's/^\([a-z-]*\):.*##/make \1 :/p' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Mnistry needs Python 3.11 or newer; this is %d.%d. Name another one: make PYTHON=python3.12 ..." % v[:2])'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing what is needed into $(VENV): a minute or two"
	$(if $(TORCH_INDEX),$(PIP) install -q --no-deps -c constraints.txt --index-url "$(TORCH_INDEX)" torch)
	$(PIP) install -q -c constraints.txt -e '.[train,dev]'
	@touch $(READY)

demo: $(READY)  ## Get MNIST, train, evaluate, draw what was predicted (a minute or so)
	$(BIN)/mnistry demo

test: $(READY)  ## The linter, the type checker and the tests (at most 5 minutes)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -n auto --dist loadscope -m 'not slow'

test-slow: $(READY)  ## The long proofs: fuzzing, recovery, figures (at most 40 minutes)
	$(BIN)/pytest -m slow

clean:  ## Remove the virtual environment and what the tools cached (runs stay)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build src/*.egg-info
