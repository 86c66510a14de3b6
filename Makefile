# Two commands are the whole set-up: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lint bench lock docs clean

run: $(VENV)/.ready  ## install, and run the demo
	$(BIN)/scaler demo $(ARGS)

test: $(VENV)/.ready  ## all tests
	$(BIN)/pytest $(ARGS)

lint: $(VENV)/.ready  ## format, style, types, architecture, Dockerfile
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/.ready: locks/dev.txt pyproject.toml hatch_build.py $(wildcard protos/*.proto)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement locks/dev.txt
	$(BIN)/python hatch_build.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

lock: $(VENV)/.ready  ## renew the locks within the bounds of pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-annotate --python-version 3.11 pyproject.toml --output-file locks/runtime.txt
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-annotate --python-version 3.11 pyproject.toml --extra demo --group dev --constraints locks/runtime.txt --output-file locks/dev.txt

clean:
	rm -rf $(VENV) scaler/pb dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
