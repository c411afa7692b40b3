# The five commands that one needs. `make install` first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install test check docs demo

install:  ## An environment with all that development needs.
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -e ".[dev]"

test:  ## The quick tests; `$(BIN)/pytest -n 2 --dist loadfile -m ""` runs all.
	$(BIN)/pytest -n 2 --dist loadfile

check:  ## Lint, types, layers.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs:  ## Pages made by scripts, then the site, in build/site.
	$(BIN)/python docs/generate/commands.py
	$(BIN)/python docs/generate/house.py
	$(BIN)/python -m mkdocs build --strict

demo:  ## The pipeline on drawn faces.
	$(BIN)/dfer demo
