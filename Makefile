# Everything runs in an environment of its own, .venv. It needs Python 3.11 or newer, make, and the
# network once, to install; after that nothing here touches the network.
PYTHON ?= python3
BIN := .venv/bin
UV := $(shell command -v uv || echo .uv/bin/uv)
STAMP := .venv/.installed
STAMP_ALL := .venv/.installed-all
# Installed versions are those of constraints.txt: nothing is resolved again after that.
export UV_PYTHON_DOWNLOADS := never

.PHONY: demo test gpu check check-all format lint types layers docs docs-drift clean
.DEFAULT_GOAL := demo

demo: $(STAMP)  ## separate a short generated song with the bundled model
	@rm -rf demo
	$(BIN)/mssctl data synth demo/songs --hours 0.006 --song-seconds 20 --valid-fraction 0 --seed 7 -q
	$(BIN)/mssctl separate demo/songs/train/song-00000/mixture.wav --out demo/stems
	@echo "The stems are in $(CURDIR)/demo/stems"

test: $(STAMP)  ## the whole test suite (but the tests marked slow, browser or gpu)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

gpu: $(STAMP)  ## what only a GPU can show: its tests, plan against measurement, speed; into gpu/
	PATH="$(CURDIR)/$(BIN):$$PATH" sh tests/on_gpu.sh gpu

check: format lint types layers docs-drift test  ## all that CI runs

check-all: format lint types layers docs-drift $(STAMP_ALL)  ## and the tests that are slow or need a browser, a compiler or a GPU; ends with a list of those that this machine skips, and why
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m '' $(ARGS)

format: $(STAMP)
	$(BIN)/ruff format --check

lint: $(STAMP)
	$(BIN)/ruff check

types: $(STAMP)
	$(BIN)/mypy

layers: $(STAMP)
	$(BIN)/lint-imports

docs-drift: $(STAMP)
	$(BIN)/python -m pytest -q tests/cli/test_docs.py

docs: $(STAMP)  ## write the generated pages anew
	$(BIN)/python -m mssctl.cli.docs docs

clean:
	rm -rf .venv .uv demo gpu dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(STAMP): pyproject.toml constraints.txt | $(UV)
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"mssctl needs Python 3.11 or newer, $(PYTHON) is {v[0]}.{v[1]}: try make PYTHON=/path/to/python3.12")'
	$(UV) venv --quiet --clear --python $(PYTHON) .venv
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --constraints constraints.txt --build-constraints constraints.txt --editable '.[dev]'
	@touch $@

$(STAMP_ALL): $(STAMP)
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --constraints constraints.txt --build-constraints constraints.txt --editable '.[dev-all]'
	@touch $@

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --constraint constraints.txt uv
