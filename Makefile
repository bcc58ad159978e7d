# make demo: set up and run the demo.  make test: set up, lint, type-check, run all tests.
# make fast: the tests that train no network and start no command, between two edits.
# make mutants: break the numeric core in one line at a time, and count how many breaks the tests notice.
# make docs: build the site, docs/_build/html/index.html.
# make judges: an environment with dcmrtstruct2nii, which reads our RTSTRUCTs in the tests.
# make wheels: volseg and what it needs but torch and numpy, for an environment without a network.
# PIP_ARGS passes extra arguments to pip, e.g. PIP_ARGS="--extra-index-url ..." for a CUDA build of torch.
PYTHON ?= python3
PIP_ARGS ?=
# The version of Python that the wheels are for, by default that of .venv.
WHEELS_PYTHON ?=
BIN := .venv/bin
# So many processes share the tests, each with cores of its own.
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=10

.PHONY: demo test check fast mutants docs judges wheels clean

demo: .venv/installed
	$(BIN)/volseg demo

test: .venv/installed-dev check
	$(PYTEST) -m ""

check: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fast: .venv/installed-dev
	$(PYTEST)

mutants: .venv/installed-dev
	$(BIN)/python tools/mutants.py --jobs $(WORKERS)

docs: .venv/installed-dev
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

judges: .venv-judges/installed

wheels: .venv/installed
	$(BIN)/python tools/kaggle/make_wheels.py wheels $(addprefix --python ,$(WHEELS_PYTHON))

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt -e ".[openvino,view]"
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt -e ".[dev]"
	touch $@

# It wants older versions of numpy and pydicom than volseg.
.venv-judges/installed:
	$(PYTHON) -m venv .venv-judges
	.venv-judges/bin/python -m pip install $(PIP_ARGS) dcmrtstruct2nii==5 "numpy<2" "pydicom<3"
	touch $@

clean:
	rm -rf .venv .venv-judges demo docs/_build
