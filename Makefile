# Targets need Python 3.11+ and make, nothing else: each builds the environment it needs in .venv and reuses it.
# A `##` comment behind a target is its help text.

VENV   ?= .venv
# Processes that run tests; each starts servers of its own, and a file stays with one.
WORKERS ?= 2
DEMO   ?= .demo
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip --quiet --disable-pip-version-check

# The environment decides nothing: no telemetry, no user site-packages, no inherited module path.
export PLOOMBER_STATS_ENABLED := false
export PYTHONNOUSERSITE := 1
export JUPYTER_PLATFORM_DIRS := 1
unexport PYTHONPATH

.DEFAULT_GOAL := help
.PHONY: help demo lab test bench bench-joins bench-federated bench-transport bench-memory bench-rivals bench-users redteam policyfuzz leakfuzz pushdown-proof faults writefuzz audit-crash ibis-suite notebooks lint format clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

demo: $(VENV)/.notebook ## build the demo catalog, run the quickstart, print its key answers
	$(PY) -m tauro_nb.demo build $(DEMO)
	$(PY) notebooks/run.py notebooks/01_quickstart.ipynb --answers --html $(DEMO)/quickstart.html

lab: $(VENV)/.notebook ## open the quickstart in JupyterLab
	$(PY) -m tauro_nb.demo build $(DEMO)
	$(PY) -m jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks/01_quickstart.ipynb

test: $(VENV)/.dev ## run everything: tests, doctests, committed notebooks, linters, packaging
	@$(MAKE) --no-print-directory chromium mariadb
	$(PY) -m pytest --nbval -n $(WORKERS) --dist loadfile tests tauro_nb notebooks/*.ipynb $(PYTEST_ARGS)

bench: $(VENV)/.dev ## run the benchmarks
	$(PY) -m benchmarks

redteam: $(VENV)/.dev ## try every attack through every door, and print what each door did
	@$(MAKE) --no-print-directory mariadb
	$(PY) -m tests.security.redteam

policyfuzz: $(VENV)/.dev ## N random policies (500), six random queries each, beside an oracle
	TAURO_POLICIES=$(or $(N),500) $(PY) -m pytest -q -s --timeout 0 tests/random/test_random_policies.py

bench-joins: $(VENV)/.dev ## measure selective joins across systems beside DuckDB's ATTACH
	$(PY) -m benchmarks.selective

bench-transport: $(VENV)/.dev ## measure whole tables as streams of Arrow beside DuckDB's ATTACH and ADBC
	@$(MAKE) --no-print-directory mariadb
	$(PY) -m benchmarks.transport

bench-memory: $(VENV)/.dev ## join two streams that are ten times what the engine may hold; needs 15 GB of disk
	$(PY) -m benchmarks.memory

bench-federated: $(VENV)/.dev ## measure TPC-H over two databases, files and a slow wire; ON names distributions (v0 v1 v2 files mariadb one)
	@$(MAKE) --no-print-directory mariadb
	$(PY) -m benchmarks.federated $(ON)

bench-rivals: $(VENV)/.dev ## measure the same joins with pandas and with xorq, which gets an environment of its own; ON names cases (selective v1)
	$(PY) -m benchmarks.rivals $(ON)

bench-users: $(VENV)/.dev ## sixteen people at once for a minute, beside DuckDB's ATTACH
	$(PY) -m benchmarks.users

faults: $(VENV)/.dev ## lose servers, connections and networks, and press Ctrl-C, N times (200) at random moments
	@$(MAKE) --no-print-directory mariadb
	TAURO_FAULTS=$(or $(N),200) $(PY) -m pytest -q -s --timeout 0 tests/faults

writefuzz: $(VENV)/.dev ## change rows at five kinds of source N times (3000), and look for answers of before
	@$(MAKE) --no-print-directory mariadb
	TAURO_WRITES=$(or $(N),3000) $(PY) -m pytest -q -s --timeout 0 tests/writefuzz

audit-crash: $(VENV)/.dev ## kill processes during 10,000 audited queries, and look for what the log lost
	$(PY) -m tests.security.audit.kill

ibis-suite: $(VENV)/.dev ## run the backend tests inside the Ibis wheel against ours and against DuckDB's own
	$(PY) -m tests.ibis_suite

leakfuzz: $(VENV)/.dev ## try whether expressions can tell what policies hide, on every kind of source; about half an hour
	@$(MAKE) --no-print-directory mariadb
	$(PY) -m tests.leakfuzz

pushdown-proof: $(VENV)/.dev ## try on real servers that what is pushed gives there what DuckDB gives; tens of minutes
	@$(MAKE) --no-print-directory mariadb
	$(PY) -m tests.pushdown

notebooks: $(VENV)/.dev ## run the committed notebooks again and store their outputs
	$(PY) notebooks/run.py notebooks/*.ipynb --in-place

lint: $(VENV)/.dev ## ruff and mypy over the checkout
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy tauro_nb

format: $(VENV)/.dev ## let ruff lay out the code
	$(PY) -m ruff check --fix-only
	$(PY) -m ruff format

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The browser tests need a Chromium. Debian as root: install it; anywhere else they skip and say what to install.
.PHONY: chromium
chromium:
	@if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "installing chromium for the browser tests"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	fi

# The MariaDB tests start a private server of their own; the one that Debian would start by itself is not started.
.PHONY: mariadb
mariadb:
	@if [ ! -x /usr/sbin/mariadbd ] && ! command -v mariadbd >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "installing mariadb-server for the MariaDB tests"; \
	  apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends mariadb-server >/dev/null; \
	fi

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "tauro_nb needs Python 3.11 or newer; set PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Stamps: an environment is built again only when pyproject.toml changes.
$(VENV)/.notebook: $(VENV)/.python pyproject.toml
	$(PIP) install -e '.[notebook]'
	@touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml
	$(PIP) install -e '.[dev]'
	@touch $(VENV)/.notebook $@
