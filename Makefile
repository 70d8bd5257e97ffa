# The commands a user and CI need. Everything is set up in .venv; nothing outside this folder is changed.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CONF   ?= tyk.conf.example
TESTERS ?= 3
SOURCES := $(wildcard accel/*.pyx accel/*.pxd accel/*.pxi accel/*.h jsvm_pool/*.pyx jsvm_pool/*.pxd jsvm_pool/*.pxi coprocess/*/*.pyx coprocess/*/*.px[di] coprocess/*/*.proto bench/*.pxd bench/*/*.pyx) setup.py pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help build run test lint bench-proxy bench-js soak exact faults docs clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(VENV)/.dependencies: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than Python 3.11; use make PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "make: '$(PYTHON) -m venv' failed; on Debian and Ubuntu install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.built: $(VENV)/.dependencies $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

build: $(VENV)/.built  ## set up .venv with the gateway installed

run: build  ## serve real traffic with tyk.conf.example and a small bundled upstream
	$(BIN)/python -m bench.tour --conf $(CONF)

# Many tests hurt real servers and watch the clock doing so; a machine that stalls beside other tests fails some of them. What
# fails is run once more by itself, is named in both summaries, and fails the suite if it fails again.
test: build lint  ## the whole test suite; most tests wait for something, so TESTERS processes share it
	@$(BIN)/python -m pytest --numprocesses $(TESTERS) --dist loadfile; code=$$?; test $$code -eq 1 || exit $$code; \
	echo "make: once more, by themselves:"; $(BIN)/python -m pytest --last-failed --last-failed-no-failures none --maxfail 3

lint: build  ## ruff, and mypy in strict mode
	$(BIN)/ruff check .
	$(BIN)/mypy

bench-proxy: build  ## CPU cost per request of the gateway and of nginx in the same run
	$(BIN)/python -m bench.proxy

bench-js: build  ## memory of contexts, 10 million calls without growth, latencies beside endless scripts
	$(BIN)/python -m bench.scripts

soak: build  ## reloads, a rolling upgrade and killed workers under load
	$(BIN)/python -m bench.soak

exact: build  ## limits under load from 4 workers: exactly as many requests pass as the limit says
	$(BIN)/python -m bench.exact

faults: build  ## the store killed, paused and slowed under load, then plugins killed, and what clients see
	$(BIN)/python -m bench.faults
	$(BIN)/python -m bench.plugin_faults

docs: build  ## regenerate the options reference and tyk.conf.example
	$(BIN)/python -m core.config.render

clean:  ## remove everything that make made
	rm -rf $(VENV) build *.egg-info accel/*.so jsvm_pool/*.so coprocess/*/*.so coprocess/*/*_pb2*.py* bench/*/*.so
