# Everything starts here: `make tour`. PYTHON=python3.12 says which Python makes the environment, VENV=dir where, and
# HARDWARE=gpu that it is for an NVIDIA GPU; an environment remembers what it was made for.
SHELL := /bin/sh
VENV ?= .venv
BIN := $(VENV)/bin
HARDWARE ?= $(shell cat $(VENV)/.hardware 2>/dev/null || echo cpu)
export VENV PYTHON
# Each target starts many Pythons: what one compiles the next ones read, also where the environment forbids it (containers do).
export PYTHONDONTWRITEBYTECODE :=
.DEFAULT_GOAL := help
.PHONY: help setup setup-test tour test lab lint bench-check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make the virtual environment, once; afterwards this takes no time and no network
	@tools/setup $(HARDWARE),trees,lessons

setup-test:
	@tools/setup $(HARDWARE),trees,lessons,test

tour: setup ## run every lesson, compare the paths, write build/report/index.html
	@$(BIN)/accelkit tour

lab: setup ## open the lessons in JupyterLab
	@mkdir -p $(VENV)/share/jupyter/lab/settings && cp docker/jupyter/overrides.json $(VENV)/share/jupyter/lab/settings/
	@cd notebooks && "$(abspath $(BIN))/jupyter" lab $(if $(filter 0,$(shell id -u)),--allow-root)

lint: setup-test ## check style, types, the form of the notebooks and the rendered files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m accelkit.lessons format --check
	@$(BIN)/python docker/render.py --check
	@$(BIN)/python docs/render.py --check

# Two workers, each with whole files or whole lessons: most tests wait for servers. COVERAGE_PROCESS_START starts the measuring
# in every process, those that tests start included. NumPy gets one thread: beside another worker its threads wait for each other.
test: lint ## lint, then run every test and hold the coverage
	@tools/framework-cpu torch
	@tools/framework-cpu tensorflow
	@rm -rf build/coverage && mkdir -p build/coverage
	@COVERAGE_PROCESS_START="$(CURDIR)/pyproject.toml" COVERAGE_FILE="$(CURDIR)/build/coverage/data" OPENBLAS_NUM_THREADS=1 \
		$(BIN)/python -m pytest -q --durations=10 -n 2 --dist loadfile --no-loadscope-reorder
	@COVERAGE_FILE=build/coverage/data $(BIN)/coverage combine --quiet
	@COVERAGE_FILE=build/coverage/data $(BIN)/coverage report

bench-check: setup-test ## hold the speeds, as ratios within one run
	@$(BIN)/python -m pytest -q tests/bench

clean: ## remove what was built here; the environment and the cache of downloads stay
	@rm -rf build .pytest_cache .ruff_cache .mypy_cache *.egg-info
