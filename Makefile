# Everything sets itself up: `make demo` and `make test` work from a fresh clone with Python >= 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test integration check format bench soak live clean
demo: $(STAMP)
	@$(BIN)/headway demo

test: $(STAMP)
	@$(BIN)/python -m pytest -n auto --dist loadfile -m "not soak and not live"

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
	@PIP_CONSTRAINT="$(CURDIR)/constraints.txt" PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install -qq --editable '.[dev]'
	@touch $@

clean:
	@rm -rf $(VENV) .venvs build dist .mypy_cache .ruff_cache
