# The tasks of this project, one command each: a person, .ci/run and the workflow on GitHub run the same.
# `make` lists them. PYTHON=python3.12 chooses the interpreter of a new environment.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test slow soak matrix lint types contracts check browser docs schema wheel clean

help: ## list the tasks
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 14

setup: $(BIN)/pytest ## an environment with the package, editable, and everything that its tests need

$(BIN)/pytest: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

quickstart: ## what a person does first: install the package alone and run the main job
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV) && $(BIN)/pip install --quiet . && $(BIN)/streamer run configs/quickstart.yaml --restart
	rm -rf $(VENV)

test: setup ## the quick tier, as in the README: every promise, with real processes
	$(BIN)/pytest

slow: setup ## the slow tier: variants, extras one by one, every interpreter with newest and lowest libraries
	$(BIN)/pytest -m "slow and not soak" -rs

soak: setup ## minutes of kills and changes; write the result into docs/soak.md
	$(BIN)/pytest -m soak -rs

matrix: setup ## the built wheel on every interpreter of this machine, as a table
	$(BIN)/python -m tests.matrix

lint: setup ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy, strict
	$(BIN)/mypy

contracts: setup ## which way imports may run
	$(BIN)/lint-imports

check: lint types contracts ## how the code is written

browser: ## a browser for the tests of the daemon's page, where there is apt; without one they are skipped and say so
	@command -v chromedriver >/dev/null || ! command -v apt-get >/dev/null || \
	    { as_root=$$([ "$$(id -u)" = 0 ] || echo sudo -n); \
	      $$as_root apt-get update -qq && $$as_root apt-get install -qq -y --no-install-recommends chromium chromium-driver; } || \
	    echo "no browser could be installed: the tests of the daemon's page will be skipped" >&2

docs: setup ## the documentation site, into build/site
	$(BIN)/mkdocs build --quiet --strict --config-file .mkdocs.yml

schema: setup ## configs/schema.json from the settings
	$(BIN)/streamer schema > configs/schema.json

wheel: setup ## dist/*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## what the tasks leave behind
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .import_linter_cache configs/.streamer configs/out
