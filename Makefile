# certflow: `make demo` or `make test` is the first command after a clone; `make help` lists the rest.
# PYTHON=/path/to/python3.12 chooses the interpreter; otherwise the newest of 3.11–3.13 on PATH is taken.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON ?=
ROWS ?= 20000
SEED ?= 2020

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.certflow-ready

.PHONY: help demo test long bench bench-full bench-check e2e lint audit up down clean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1  \2/p' Makefile

demo: $(READY) ## one synthetic month from end to end (ROWS=20000 SEED=2020)
	@$(BIN)/certflow demo run --rows $(ROWS) --seed $(SEED)

test: $(READY) ## the whole test suite, two files at a time (ARGS="-k send -x" narrows it)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

long: $(READY) ## the tests that take minutes, and those that measure speed
	@$(BIN)/python -m pip install -q --only-binary :all: 'atheris>=3' || echo "no wheel of the fuzzer here: fuzzing is left out"
	@$(BIN)/python -m pytest -m long $(ARGS)

bench: $(READY) ## every stage beside the usual spelling and the limit, then months, intake, checks and desk (3 GB of disk)
	@$(BIN)/python tests/bench/bench_stages.py
	@$(BIN)/python tests/bench/bench_month.py
	@$(BIN)/python tests/bench/bench_registry.py
	@$(BIN)/python tests/bench/bench_airflow.py
	@$(BIN)/python tests/bench/bench_intake.py
	@$(BIN)/python tests/bench/bench_checks.py
	@$(BIN)/python tests/bench/bench_desk.py

bench-full: $(READY) ## the same at the sizes of docs/performance.md, then that page (20 GB of disk, some hours)
	@$(BIN)/python tests/bench/bench_stages.py --certificates 10000000 --rows 100000 --megabytes 256
	@$(BIN)/python tests/bench/bench_month.py --certificates 10000000 --sizes 1000,10000,100000
	@$(BIN)/python tests/bench/bench_registry.py --certificates 10000000
	@$(BIN)/python tests/bench/bench_returns.py
	@$(BIN)/python tests/bench/bench_airflow.py
	@$(BIN)/python tests/bench/report.py

bench-check: $(READY) ## the stages, compared by ratio with the last accepted ones; fails on a loss of more than 15 %
	@$(BIN)/python tests/bench/bench_stages.py
	@$(BIN)/python tests/bench/compare.py

e2e: $(READY) ## only the tests that drive the real scheduler, and a browser where there is a Chromium
	@$(BIN)/python -m pip install -q --only-binary :all: 'playwright>=1.50' || echo "no wheel of playwright here: the browser tests are left out"
	@$(BIN)/python -m pytest tests/e2e -m "slow or long" $(ARGS)

lint: $(READY) ## ruff, ruff format, mypy --strict, bandit and a scan for secrets
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive include dags plugins deploy
	@sh .ci/secrets $(BIN)
	@echo "lint: done. Known vulnerabilities were NOT looked up, that takes the network: make audit"

audit: $(READY) ## known vulnerabilities of what is locked; fails where the database cannot be asked
	@$(BIN)/python -m pip install -q 'pip-audit>=2.9'
	@$(BIN)/python -m pip_audit --strict --disable-pip --no-deps --progress-spinner off -r requirements.lock \
	  || { echo "audit: NOT passed: something is known, or the database could not be asked (the lines above say which)"; exit 1; }

up: $(READY) ## Airflow with its pages on embedded PostgreSQL and SFTP
	@$(BIN)/certflow up

down: $(READY) ## stop everything `make up` started
	@$(BIN)/certflow down

clean: ## remove .venv and caches; var/ (data) stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): requirements.lock pyproject.toml .ci/install
	@sh .ci/install $(VENV) "$(PYTHON)"
