# Everything that a newcomer, a developer and CI call.  Works with make 3.81 and BSD tools.
#
#   make run ARGS="--seed 7"             arguments for the command
#   make install PYTHON=/path/python3.12 the Python to build with
#   make install VENV=.venv-3.12         the folder to build in
#   make test ARGS="tests/unit -k debt"  just these tests, slow or not
#   make test WORKERS=0                  tests one after another, in one process

VENV = .venv
BIN = $(VENV)/bin
# Tests mostly wait for servers, so more workers than cores.
WORKERS = 4
CODE = schemas streams admission simulation console deploy
# Nothing is built in an isolated environment: that would download without hashes.
INSTALL = install --require-hashes --no-build-isolation
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.PHONY: help install install-dev run test test-slow lint format simulate faults schema bench lock clean

help: ## What can be made here
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

install: $(VENV)/.installed ## Install into .venv, every package checked against its hash

install-dev: $(VENV)/.installed-dev ## The same with what tests and checks need

run: install ## Start the loop, replay traffic, show it live, sum up, stop (ARGS="...")
	@$(BIN)/tokenpools run $(ARGS)

test: install-dev ## Run every test but the slow ones (ARGS="tests/unit -k debt": just these)
	$(PYTEST) $(or $(ARGS),-m "not slow")

test-slow: install-dev ## Run the slow tests: whole loops, crashes, mutations of the code
	$(PYTEST) -m slow $(ARGS)

lint: install-dev ## Check style, types and layout
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install-dev ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

simulate: install-dev ## Simulate 1,000 seeds, every law judged at every step (ARGS="--seeds 5000")
	@$(BIN)/python -m tests.simulation.campaign --seeds 1000 $(ARGS)

faults: install-dev ## Kill and disturb everything, every sum judged (ARGS="--short", "--seed 7")
	@$(BIN)/python -m tests.faults $(ARGS)

schema: install ## Write the JSON Schema of every message again
	$(BIN)/tokenpools schemas --out docs/schemas

bench: install-dev ## Measure (tests/bench, not part of `make test`)
	$(BIN)/python -m pytest tests/bench $(ARGS)

lock: install-dev ## Resolve the locks again, keeping what still fits (LOCK_ARGS=--upgrade: newest)
	$(COMPILE) $(LOCK_ARGS) pyproject.toml --extra plots --group dev -o requirements-dev.txt
	$(COMPILE) pyproject.toml -c requirements-dev.txt -o requirements.txt
	$(COMPILE) pyproject.toml --extra plots -c requirements-dev.txt -o requirements-plots.txt
	$(COMPILE) --group build -c requirements-dev.txt -o requirements-build.txt

clean: ## Remove environments and caches, never a loop's state
	rm -rf .venv .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache \
		.hypothesis
	find $(CODE) tests -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment ------------------------------------------------------------------------------

CANDIDATES = $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
SUITS = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
VERSION = import sys; print("%d.%d" % sys.version_info[:2])
# pip where the environment has one, else uv, which made an environment without.
PIP = if $(BIN)/python -c "import pip" 2>/dev/null; then pip="$(BIN)/python -m pip"; \
	else pip="env UV_PYTHON=$(BIN)/python uv pip"; fi; $$pip

# requirements-plots.txt is requirements.txt, which images install, and what draws pictures.
$(VENV)/.installed: requirements-build.txt requirements-plots.txt pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV); the first time downloads a Java runtime, ClickHouse's engine, ..."
	@$(PIP) $(INSTALL) -r requirements-build.txt
	@$(PIP) $(INSTALL) -r requirements-plots.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@$(PIP) $(INSTALL) -r requirements-dev.txt
	@touch $@

# The first candidate that can make an environment; one that lacks ensurepip needs uv or virtualenv.
$(BIN)/python:
	@for python in $(CANDIDATES); do \
		"$$python" -c '$(SUITS)' 2>/dev/null || continue; \
		suitable=$${suitable:-$$python}; \
		"$$python" -c 'import ensurepip, venv' 2>/dev/null || continue; \
		echo "Making $(VENV) with $$("$$python" --version)"; \
		exec "$$python" -m venv "$(VENV)"; \
	done; \
	if test -z "$$suitable"; then \
		echo "No Python 3.11, 3.12 or 3.13 among: $(CANDIDATES). Name one: make install PYTHON=..." >&2; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$suitable" --version), which lacks ensurepip"; \
	if command -v uv >/dev/null; then exec uv venv --python "$$suitable" "$(VENV)"; fi; \
	if command -v virtualenv >/dev/null; then exec virtualenv -p "$$suitable" "$(VENV)"; fi; \
	echo "Install what makes environments: apt-get install python$$("$$suitable" -c '$(VERSION)')-venv" >&2; \
	echo "(on Debian and Ubuntu), or uv, or virtualenv; or name another Python: PYTHON=..." >&2; \
	exit 1
