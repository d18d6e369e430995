# Each of these is enough by itself on a machine that has only Python 3.11 and make.
#   make            sets up .venv and answers two questions with checkpoints/demo_multi_cased
#   make test       sets up .venv and runs the tests (a few minutes)
#   make slow-test  likewise the tests that take minutes or gigabytes each
#   make lint       likewise the checks of style and types
#   make wheel      builds dist/bert_tf-*.whl

PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: run test slow-test lint wheel setup clean

run: setup
	$(BIN)/python run_mask.py "She opened the [MASK] and looked out of the window."
	$(BIN)/python run_nsp.py "She opened the door." "There was nobody in the room."

test: setup
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

slow-test: setup
	$(BIN)/python -m pytest -q -m slow

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

wheel: setup
	$(BIN)/python -m build --wheel

setup: $(READY)

# Installed again when a requirement changes. The mark is made last, so a broken install is repeated.
$(READY): setup.cfg setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
