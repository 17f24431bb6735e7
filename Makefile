# make install                  set up .venv (done by the other targets on first use)
# make quickstart               pretrain, detect, segment and report on made-up scenes; METHOD=, EPOCHS=, ARGS=
# make test                     run the tests; TESTS="tests/ops -m slow" for others than the default
# make test-openmmlab           run those that touch OpenMMLab's packages beside its own; TESTS= too
# make lint                     ruff and mypy
# make docs                     build the documentation site, docs/_build/html; ARGS=-E builds all pages anew
# make benchmark                time a training step of the recipes; ARGS="--recipes sere-base --gpus 1 8" for others
# make wheelhouse PYTHON=3.12   collect wheels for a node without internet that has torch; SKIP=
#
# PYTHON is an interpreter or a version number: make install PYTHON=python3.12

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: install quickstart test test-openmmlab lint docs benchmark wheelhouse clean

PYTHON ?= python3
# A bare number means that version's interpreter, or for want of it any Python 3.
INTERPRETER := $(if $(filter 3.%,$(PYTHON)),$(shell command -v python$(PYTHON) || command -v python3),$(PYTHON))

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS ?= onedl-all,dev
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

# One thread per process: the tests are small, and some start processes of their own. All of them run file by file in
# JOBS processes; TESTS alone in one.
JOBS ?= 2
ALL_TESTS := -n $(JOBS) --dist loadfile
test: $(STAMP)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -q $(or $(TESTS),$(ALL_TESTS))

# A second environment, .venv-openmmlab: OpenMMLab's own packages instead of onedl's, and links to what else .venv has.
# mim comes without its requirement opendatalab, which pins the versions of half of what is here.
OPENMMLAB := .venv-openmmlab
OPENMMLAB_BIN := $(OPENMMLAB)/bin
OPENMMLAB_STAMP := $(OPENMMLAB)/.installed
OPENMMLAB_PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(OPENMMLAB_BIN)/python -m pip

$(OPENMMLAB_STAMP): $(STAMP) constraints-openmmlab.txt tests/link_distributions.py
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info >= (3, 13) and \
	  "OpenMMLab'"'"'s own packages need NumPy 1, which ends with Python 3.12: make install PYTHON=python3.12")'
	rm -rf $(OPENMMLAB)
	$(BIN)/python -m venv $(OPENMMLAB)
	$(BIN)/python tests/link_distributions.py $(OPENMMLAB) --pins constraints-openmmlab.txt \
	  --without mmrel pip 'onedl-*' imaug imagecorruptions-imaug
	$(OPENMMLAB_PIP) install --quiet -e '.[openmmlab-all,test]' -c constraints-openmmlab.txt \
	  click colorama pandas requests tabulate
	$(OPENMMLAB_PIP) install --quiet --no-deps -c constraints-openmmlab.txt openmim
	@touch $@

test-openmmlab: $(OPENMMLAB_STAMP)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(OPENMMLAB_BIN)/python -m pytest -q $(or $(TESTS),$(ALL_TESTS) -m 'family and not slow')

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Warnings are errors: a link that leads nowhere, a docstring that is no reStructuredText, a notebook that fails.
DOCS_STAMP := $(VENV)/.installed-docs

$(DOCS_STAMP): $(STAMP)
	$(PIP) install --quiet -e '.[docs]' -c constraints.txt
	@touch $@

docs: $(DOCS_STAMP)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m sphinx -q -W --keep-going $(ARGS) docs docs/_build/html
	@echo "docs/_build/html/index.html"

benchmark: $(STAMP)
	$(BIN)/python benchmarks/step.py $(ARGS)

# SKIP names what else is on the node, as `pip freeze` there prints it: SKIP="$(cat freeze.txt)".
wheelhouse: $(STAMP)
	$(BIN)/python tools/wheelhouse.py $(if $(filter 3.%,$(PYTHON)),--python $(PYTHON)) $(if $(SKIP),--skip "$$SKIP")

clean:
	rm -rf build dist *.egg-info mmrel/.mim .mypy_cache .pytest_cache .ruff_cache
