# On a fresh clone every target does its own set-up. PYTHON names an interpreter of version 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The tests start some hundred processes, each of which would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check format reset

run: $(READY)  ## the whole loop on scikit-learn's digits, in workspace/
	$(BIN)/frugal init workspace
	cd workspace && ../$(BIN)/frugal run conf/digits.yaml

test: $(READY)  ## every test, in three processes: those of the servers wait for most of their time
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

check: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reset:  ## forget the loop in workspace/
	rm -rf workspace

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "uv>=0.9"
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $(READY)
