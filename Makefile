# SPDX-License-Identifier: GPL-3.0-or-later
# Every target sets up what it needs: on a fresh Debian, `make test` is one command.

# Debian's own Python, not one that happens to be first on PATH: QGIS comes with it.
PYTHON ?= $(if $(wildcard /usr/bin/python3),/usr/bin/python3,python3)
VENV := .venv
LINT_VENV := .venv-lint
ENVIRONMENT := .environment
ENGINE_PACKAGES := $(ENVIRONMENT)/test-packages

# Installs of the tests and of the checkout share what uv has downloaded and built.
export UV_CACHE_DIR ?= $(CURDIR)/build/uv-cache

# The interpreter of the private environment, as the installer names it.
engine_python = $$(cat $(ENVIRONMENT)/interpreter)
in_engine = OMP_WAIT_POLICY=PASSIVE PYTHONPATH=$(CURDIR):$(CURDIR)/$(ENGINE_PACKAGES) $(engine_python)

# `make test QGIS=3.40` tests with that QGIS, fetched into build/ (Debian 12), and not with the system's.
QGIS ?=
qgis_folder = $(if $(QGIS),build/qgis-$(QGIS))
qgis_python = $(if $(QGIS),scripts/with_qgis.sh $(qgis_folder)) $(VENV)/bin/python

.PHONY: help setup demo test test-unit test-qgis test-desktop test-engine test-install lint format screenshots bench evaluate-demo clean

help:  ## Say what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile

setup: $(VENV)/ready $(LINT_VENV)/ready $(ENGINE_PACKAGES)/ready  ## Install all that the other targets need

demo: $(VENV)/ready $(ENVIRONMENT)/interpreter  ## Encode real imagery, segment clicks on it, draw what came out
	$(VENV)/bin/python scripts/make_demo.py

test: test-unit test-qgis test-engine test-install test-desktop  ## Run all tests; QGIS=3.40 for that version

test-unit: $(VENV)/ready  ## Run the tests that need no model
	$(VENV)/bin/python -m pytest tests/unit

test-qgis: $(VENV)/ready $(ENVIRONMENT)/interpreter $(qgis_folder)  ## Run the tests that need QGIS, without a screen
	$(qgis_python) -m pytest tests/qgis

test-desktop: $(ENGINE_PACKAGES)/ready $(qgis_folder)  ## Run the tests that click in the real QGIS, on a screen of its own
	$(qgis_python) -m pytest tests/desktop

test-engine: $(ENGINE_PACKAGES)/ready  ## Run the tests that need SAM 2
	$(in_engine) -m pytest tests/engine

test-install: $(VENV)/ready  ## Install the private environment for real, in all its ways
	$(VENV)/bin/python -m pytest tests/runtime_install

lint: $(LINT_VENV)/ready  ## Check style and types
	$(LINT_VENV)/bin/ruff check .
	$(LINT_VENV)/bin/ruff format --check .
	$(LINT_VENV)/bin/mypy

format: $(LINT_VENV)/ready  ## Put the code into shape
	$(LINT_VENV)/bin/ruff check --fix .
	$(LINT_VENV)/bin/ruff format .

screenshots: $(VENV)/ready $(ENVIRONMENT)/interpreter  ## Take the pictures of the dock in docs/
	$(VENV)/bin/python scripts/take_screenshots.py

bench: $(ENGINE_PACKAGES)/ready $(VENV)/ready  ## Measure speed and memory; writes benchmarks/results.json
	$(in_engine) -m benchmarks

evaluate-demo: $(ENGINE_PACKAGES)/ready  ## Measure the demo model; adds to benchmarks/results.json
	$(in_engine) scripts/evaluate_demo_model.py

clean:  ## Remove all that was set up
	rm -rf $(VENV) $(LINT_VENV) $(ENVIRONMENT) build .mypy_cache .ruff_cache .pytest_cache

# QGIS's Python modules come from the system, whose packages the environment therefore sees.
$(VENV)/ready: requirements/test.txt scripts/system_packages.sh
	scripts/system_packages.sh
	$(PYTHON) -m venv --clear --system-site-packages $(VENV)
	$(VENV)/bin/python -m pip install --quiet --requirement $<
	touch $@

build/qgis-%: scripts/fetch_qgis.sh
	scripts/fetch_qgis.sh $* $@

$(LINT_VENV)/ready: requirements/lint.txt
	scripts/system_packages.sh
	$(PYTHON) -m venv --clear $(LINT_VENV)
	$(LINT_VENV)/bin/python -m pip install --quiet --requirement $<
	touch $@

$(ENVIRONMENT)/interpreter: geo_sam2/runtime/pins.py
	$(PYTHON) -m geo_sam2.runtime --home $(ENVIRONMENT) install
	$(PYTHON) -m geo_sam2.runtime --home $(ENVIRONMENT) status --quick --json \
	  | $(PYTHON) -c 'import json, sys; print(json.load(sys.stdin)["python"])' >$@

# A folder beside the environment, so that the tests see the environment as its users have it.
$(ENGINE_PACKAGES)/ready: $(ENVIRONMENT)/interpreter $(VENV)/ready requirements/engine-test.txt requirements/engine-reference.txt
	rm -rf $(ENGINE_PACKAGES)
	$(VENV)/bin/python -m pip --python $(engine_python) install --quiet --no-deps --target $(ENGINE_PACKAGES) \
	  --requirement requirements/engine-reference.txt
	$(VENV)/bin/python -m pip --python $(engine_python) install --quiet --no-deps --target $(ENGINE_PACKAGES) --upgrade \
	  --requirement requirements/engine-test.txt
	touch $@
