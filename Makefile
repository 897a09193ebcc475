# Everything sets itself up: `make demo` and `make test` work from a fresh clone with Python >= 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# uv (MIT or Apache-2.0) takes a fifth of pip's time; where it cannot be had, or does not reach the packages, for its
# settings are its own, pip does it.
PIP := PIP_CONSTRAINT="$(CURDIR)/constraints.txt" PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip
UV := UV_CONSTRAINT="$(CURDIR)/constraints.txt" VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/python -m uv

.PHONY: demo test integration check format bench soak live clean
demo: $(STAMP)
	@$(BIN)/headway demo

# What is compiled once stays so, for the tests and the hundreds of processes that they start.
test integration: export PYTHONDONTWRITEBYTECODE :=
test: $(STAMP)
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not soak and not live"

# The official SDKs, each in an environment of its own under .venvs/; part of `make test`, too, where they can be had.
integration: $(STAMP)
	@SDKS_REQUIRED=1 $(BIN)/python -m pytest tests/integration

check: $(STAMP)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest tests/test_architecture.py

format: $(STAMP)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# Those that take many minutes each are started by name.
LONG_BENCHES := $(addprefix bench/bench_,$(addsuffix .py,compare jobs_compare limits_jobs pipeline_compare ray stats))
bench: $(STAMP)
	@for f in $(filter-out $(LONG_BENCHES),$(wildcard bench/bench_*.py)); do echo "# $$f"; $(BIN)/python $$f || exit 1; done

soak: $(STAMP)
	@$(BIN)/python -m pytest -m soak

live: $(STAMP)
	@HEADWAY_LIVE=1 $(BIN)/python -m pytest -m live tests/live

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Headway needs Python >= 3.11; try: make PYTHON=python3.12")'
	@echo "Setting up $(VENV) (once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install -qq uv && $(UV) pip install -q --compile-bytecode --editable '.[dev]' || $(PIP) install -qq --editable '.[dev]'
	@touch $@

clean:
	@rm -rf $(VENV) .venvs build dist .mypy_cache .ruff_cache
