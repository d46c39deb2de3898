# Two commands: `make run` and `make check`. The rest is for single steps.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
VENV_PYTHON := .venv/bin/python

# Settings for the static checks: they connect to nothing and ignore .molecule/env.
STATIC := env MOLECULE_READ_ENV_FILE=false DATABASE_URL=postgresql:///unused REDIS_URL=redis://unused \
	SECRET_KEY=unused DEBUG=false
PRODUCTION := ALLOWED_HOSTS=molecule.example PROXY_SCHEME=true SECRET_KEY=$$($(VENV_PYTHON) -c 'import secrets; print(secrets.token_urlsafe(64))') \
	SECRETS_ENCRYPTION_KEY=$$($(VENV_PYTHON) -c 'import secrets; print(secrets.token_hex(32))')

.PHONY: help run demo test stress fuzz bench chaos check static format clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: .venv/run.stamp ## Serve Molecule on http://127.0.0.1:8000 (PORT, HOST) until Ctrl-C
	@exec $(VENV_PYTHON) -m molecule.run

demo: .venv/run.stamp ## Run a small example organisation, on the running server or on one of its own
	@exec $(VENV_PYTHON) -m examples.demo

test: .venv/dev.stamp ## Run all tests, on private PostgreSQL and Redis servers; WORKERS=0 for one file at a time
	@exec $(VENV_PYTHON) -m pytest -n $(or $(WORKERS),3) --dist loadfile --no-loadscope-reorder

stress: .venv/dev.stamp ## Run thousands of races and random histories; takes 15 minutes
	@MOLECULE_STRESS=1 exec $(VENV_PYTHON) -m pytest tests/registry/test_property.py tests/registry/organisation/test_tombstone.py \
		tests/registry/organisation/test_rebuild.py tests/registry/structure/test_complete_events.py

fuzz: .venv/dev.stamp ## Send each route a hundred requests generated from the OpenAPI description
	@FUZZ_EXAMPLES=100 exec $(VENV_PYTHON) -m pytest tests/e2e/test_fuzz.py

bench: .venv/dev.stamp ## Measure throughput and latency on this machine; BENCH=heartbeats for one part
	@command -v wrk >/dev/null || { echo "bench: installing wrk" >&2; apt-get install -y -qq --no-install-recommends wrk >/dev/null; } \
		|| { echo "bench: wrk is needed to generate load: apt-get install wrk" >&2; exit 1; }
	@exec $(VENV_PYTHON) -m tests.bench $(or $(BENCH),--report docs/benchmarks.md)

chaos: .venv/dev.stamp ## Kill every process in turn under 500 agents and 20 clients; SEED=n repeats a run
	@exec $(VENV_PYTHON) -m tests.chaos $(if $(SEED),--seed $(SEED))

check: static test ## Run all of CI: format, lint, types, layers, migrations, deploy check, tests

static: .venv/dev.stamp ## Run every check except the tests
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m ruff check .
	$(STATIC) $(VENV_PYTHON) -m mypy .
	.venv/bin/lint-imports --no-logo
	$(STATIC) $(PRODUCTION) $(VENV_PYTHON) manage.py check --deploy --fail-level WARNING
	env -u DATABASE_URL -u REDIS_URL MOLECULE_READ_ENV_FILE=false SECRET_KEY=unused \
		$(VENV_PYTHON) -m molecule.embedded $(VENV_PYTHON) manage.py makemigrations --check

format: .venv/dev.stamp ## Format the code and sort its imports
	$(VENV_PYTHON) -m ruff check --select I --fix .
	$(VENV_PYTHON) -m ruff format .

clean: ## Remove .venv and caches; never .molecule
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache staticfiles
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/run.stamp: requirements.txt constraints.txt .ci/venv
	@.ci/venv requirements.txt
	@touch $@

.venv/dev.stamp: requirements-dev.txt requirements.txt constraints.txt .ci/venv
	@.ci/venv requirements-dev.txt
	@touch $@ .venv/run.stamp
