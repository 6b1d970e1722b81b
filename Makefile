# `make train` and `make test` work from a plain clone: they make .venv on first use.
#
#   PYTHON=python3.10   which Python to make .venv with; it is kept until `make clean`
#   EXTRA=cpu           which Paddle to install, cpu or gpu; without it, gpu where nvidia-smi lists one that it runs on
#   ARGS="…"            passed on, as in `make train ARGS="-o train.epochs=2"`

VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?= python3 python3.11 python3.12 python3.10 python3.9 python
EXTRA ?= $(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | grep -q '^[678]\.' && echo gpu || echo cpu)
IN_RANGE := import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 12))

.PHONY: help train test lint docs fast clean
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

train: $(VENV)/installed ## Train: make train ARGS="-c fluid -o train.epochs=2"
	$(VENV)/bin/paddle-alexnet train $(ARGS)

# A file stays in one process, for its tests share what they make. A process takes up to 3 GB.
test: $(VENV)/installed-test ## Run the fast tests
	$(PY) -m pytest -m "not slow and not parity and not readme" -n auto --maxprocesses=4 --dist loadfile $(ARGS)

lint: $(VENV)/installed-dev ## Check style, types, the layers and the prose
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) tests/support/prose.py

fast: $(VENV)/installed ## Compile kernels for this machine: a CPU trains faster with them
	@$(PY) -m pip install --quiet -e ".[fast]"
	@$(VENV)/bin/paddle-alexnet build-kernels

docs: $(VENV)/installed-docs ## Build the pages of docs/ and the reference into site/
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "site/index.html is the first page"

# The stamps are touched last, so an install that was broken off is taken up again.
$(VENV)/installed: setup.py
	@$(PY) -m pip --version >/dev/null 2>&1 || { \
		for python in $(PYTHON) none; do $$python -c '$(IN_RANGE)' 2>/dev/null && break; done; \
		if [ $$python = none ]; then \
			echo "error: no Python 3.9 to 3.12 among: $(PYTHON). Install one, or name it: make PYTHON=/path/to/python" >&2; \
			exit 1; \
		fi; \
		$$python -m venv --clear $(VENV) || { \
			echo "error: $$python cannot make $(VENV): add its venv module (Debian: apt install python3-venv)" >&2; \
			exit 1; \
		}; \
	}
	@echo "Installing Paddle ($(EXTRA)) into $(VENV): once, a download of about $(if $(filter gpu,$(EXTRA)),3 GB,200 MB)"
	@$(PY) -m pip install --quiet -e ".[$(EXTRA)]"
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	@$(PY) -m pip install --quiet -e ".[test]"
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@$(PY) -m pip install --quiet -e ".[dev]"
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	@$(PY) -m pip install --quiet -e ".[docs]"
	@touch $@

clean: ## Remove the virtual environments and caches; runs/ and data/ stay
	rm -rf .venv .venv-paddle3 build site *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find paddle_alexnet tests tools -name __pycache__ -prune -exec rm -rf {} +
