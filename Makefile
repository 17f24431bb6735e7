# make install                  set up .venv (done by the other targets on first use)
# make quickstart               pretrain, fine-tune and report on made-up scenes; METHOD=, EPOCHS=, ARGS=
# make test                     run the tests; TESTS="tests/ops -m slow" for others than the default
# make lint                     ruff and mypy
# make wheelhouse PYTHON=3.12   collect wheels for a node without internet that has torch; SKIP=
#
# PYTHON is an interpreter or a version number: make install PYTHON=python3.12

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: install quickstart test lint wheelhouse clean

PYTHON ?= python3
# A bare number means that version's interpreter, or for want of it any Python 3.
INTERPRETER := $(if $(filter 3.%,$(PYTHON)),$(shell command -v python$(PYTHON) || command -v python3),$(PYTHON))

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS ?= detection,segmentation,scenes,logging,dev
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip

install: $(STAMP)

$(BIN)/python:
	@$(INTERPRETER) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
	  f"mmrel needs Python 3.10 or newer, {sys.executable} is {sys.version.split()[0]}; give another one: make install PYTHON=python3.12")'
	$(INTERPRETER) -m venv $(VENV)

# mmcv comes first and alone: built in isolation it finds no torch and so compiles nothing, and without
# pip's cache it cannot be a wheel with operators that somebody compiled earlier for another torch.
$(STAMP): setup.py constraints.txt | $(BIN)/python
	env -u PIP_NO_BUILD_ISOLATION $(PIP) install --quiet --no-cache-dir --no-deps -c constraints.txt onedl-mmcv
	$(PIP) install --quiet -e '.[$(EXTRAS)]' -c constraints.txt
	@touch $@

quickstart: $(STAMP)
	$(BIN)/python tools/quickstart.py $(if $(METHOD),--method $(METHOD)) $(if $(EPOCHS),--epochs $(EPOCHS)) $(ARGS)

# One thread per process: the tests are small, and some start processes of their own.
test: $(STAMP)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -q $(TESTS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# SKIP names what else is on the node, as `pip freeze` there prints it: SKIP="$(cat freeze.txt)".
wheelhouse: $(STAMP)
	$(BIN)/python tools/wheelhouse.py $(if $(filter 3.%,$(PYTHON)),--python $(PYTHON)) $(if $(SKIP),--skip "$$SKIP")

clean:
	rm -rf build dist *.egg-info mmrel/.mim .mypy_cache .pytest_cache .ruff_cache
