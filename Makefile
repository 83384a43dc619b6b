# Thin: the real things are commands. `make demo` and `make test` need Python 3.11+ and nothing else.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: .venv/installed ## Install everything into .venv, and fetch Kafka and the registry into the cache
	@echo "Installed: $(BIN)/millrace"

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Millrace needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Installing into .venv: a minute or two the first time, with about 180 MiB of Kafka and registry into the cache"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[all]' --group dev
	@$(BIN)/python -m millrace.embedded.fetch
	@touch $@

demo: .venv/installed ## Start everything, share a video and an article, show what comes of them
	@$(BIN)/millrace demo

up: .venv/installed ## Start everything and keep it up
	@$(BIN)/millrace up

lint: .venv/installed ## Style, types, import arrows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/millrace schemas check
	$(BIN)/hadolint deploy/image/Dockerfile
	$(BIN)/shellcheck $$(find deploy examples scripts -name '*.sh')

test: .venv/installed ## All tests, against a real broker, registry and database
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: lint test ## What CI runs: lint, then all tests

bench: .venv/installed ## Measure the pipeline beside Celery over RabbitMQ and stock Faust
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --group bench
	$(BIN)/python -m benchmarks.pipeline

lock: .venv/installed ## Resolve constraints.txt anew
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --group bench --universal --no-header --no-annotate --no-emit-index-url --upgrade --quiet --output-file constraints.txt
	echo "uv==$$($(BIN)/uv --version | cut -d' ' -f2)" >> constraints.txt

.PHONY: help setup demo up lint test check bench lock
