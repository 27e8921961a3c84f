# make e2e: the measurement. make test: everything that needs no Kubernetes. Each target installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLUSTER ?= local
ARGS ?=
INSTALLED := $(VENV)/.installed
BENCH_INSTALLED := $(VENV)/.bench-installed
BROWSER_INSTALLED := $(VENV)/.browser-installed
AUDIT_INSTALLED := $(VENV)/.audit-installed

ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
WORKFLOWS := $(wildcard .github/workflows/*.yml)

# The versions are those of constraints.txt either way. uv does not read pip's settings (its index, its certificates):
# where it fails, pip has a try.
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check
UV := UV_CONSTRAINT=constraints.txt UV_BUILD_CONSTRAINT=constraints.txt uv pip install --quiet --python $(BIN)/python

# Identifiers of known vulnerabilities that stay, each with a sentence in docs/SECURITY.md.
ACCEPTED :=

NIGHTLY ?= --cluster=minikube --workers=2,4 --strict-verdict --regression

.PHONY: e2e recovery test tests faults bench gpu browser audit gate-selftest nightly nightly-summary nightly-issues doctor prerequisites up status run dashboard logs restart stop start down gc docs lint lint-workflows install clean help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

e2e: $(INSTALLED) ## train without Ray and with Ray Train, prove the same work, measure (ARGS="--workers=2 --epochs=5")
	$(BIN)/python -m pytest -m e2e --cluster=$(CLUSTER) $(ARGS)

test: $(INSTALLED) ## lint, every test that needs no Kubernetes, and one short real run
	$(MAKE) --jobs=2 lint tests
	$(BIN)/python -m pytest -m e2e --quick --reports=reports/quick

tests: $(INSTALLED) ## unit and contract tests, real clusters and trainings; no lint, no measurement
	$(BIN)/python -m pytest -m "not e2e and not recovery and not sweep and not scaling and not kubernetes and not faults" --durations=10 $(ARGS)

recovery: $(INSTALLED) ## kill workers, and see what that costs (ARGS="--recoveries=5")
	$(BIN)/python -m pytest tests/recovery -m recovery $(ARGS)

faults: $(INSTALLED) ## do to runs what goes wrong, and see what they say (ARGS="--kills=100" or "--cluster=minikube")
	$(BIN)/python -m pytest tests/faults -m faults $(ARGS)

bench: $(BENCH_INSTALLED) ## measure and judge the speed targets, beside other trainers (ARGS="--rounds 3 --only peers")
	$(BIN)/python -m benchmarks.bench $(ARGS)

gpu: $(INSTALLED) ## install TensorFlow with CUDA, some GB, in the place of the one for CPUs (--gpus-per-worker=1)
	$(PIP) -e '.[gpu]'
	$(BIN)/python -m pip uninstall --quiet --yes tensorflow-cpu
	$(PIP) --no-deps --force-reinstall tensorflow

browser: $(BROWSER_INSTALLED) ## open every page in a headless Chromium; skipped where there is none
	$(BIN)/python -m pytest -m browser -rs $(ARGS)

audit: $(AUDIT_INSTALLED) ## look for known vulnerabilities of the pinned packages; SBOMs in reports/audit
	@mkdir -p reports/audit
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml -o reports/audit/environment.cdx.json $(BIN)/python
	$(BIN)/cyclonedx-py requirements -o reports/audit/image.cdx.json image/requirements.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt \
	  $(addprefix --ignore-vuln=,$(ACCEPTED)) $(ARGS)

gate-selftest: $(INSTALLED) ## replay the regression gate on synthetic histories, committed seeds and new ones
	$(BIN)/python -m fixtures.history selftest --fresh

nightly: $(INSTALLED) ## what the nightly workflow measures; fails for REGRESSION alone (NIGHTLY="--workers=2 --regression")
	$(BIN)/python -m fixtures.cli.nightly run -- $(NIGHTLY)

nightly-summary: $(INSTALLED) ## the last run as the workflow's job summary, Markdown
	$(BIN)/python -m fixtures.cli.nightly summary

nightly-issues: $(INSTALLED) ## bring the workflow's issues up to date, one for each benchmark
	$(BIN)/python -m fixtures.cli.nightly issues

doctor: $(INSTALLED) ## look at everything that a run needs (CLUSTER=minikube)
up: $(INSTALLED) ## bring the cluster up and keep it for later runs (CLUSTER=minikube ARGS="--workers=2,4")
status: $(INSTALLED) ## say what is there
run: $(INSTALLED) ## measure on the cluster that is up, and keep it (CLUSTER=minikube ARGS="--workers=2,4")
dashboard: $(INSTALLED) ## open the dashboards, or say how to reach them
logs: $(INSTALLED) ## print the ends of Ray's logs, and of pods' (ARGS=--follow)
restart: $(INSTALLED) ## make the Ray cluster anew; nodes and image stay
stop: $(INSTALLED) ## stop Minikube's nodes (CLUSTER=minikube)
start: $(INSTALLED) ## start them again, with Ray (CLUSTER=minikube)
down: $(INSTALLED) ## remove all that is ours, and look whether it is gone
doctor up status run dashboard logs restart stop start down:
	$(BIN)/python -m fixtures $@ --cluster=$(CLUSTER) $(ARGS)

# Without its dependencies: its copy of axe-core is all that is read, and it asks for a driver that is not used.
$(BROWSER_INSTALLED): $(INSTALLED)
	$(PIP) -e '.[browser]'
	$(PIP) --no-deps axe-playwright-python
	@touch $(BROWSER_INSTALLED)

$(AUDIT_INSTALLED): $(INSTALLED)
	$(PIP) -e '.[audit]'
	@touch $(AUDIT_INSTALLED)

prerequisites: $(INSTALLED) ## install kubectl, Minikube and Helm into ~/.local/bin (ARGS="kind --into=tools")
	$(BIN)/python -m fixtures prerequisites $(ARGS)

gc: $(INSTALLED) ## remove what earlier runs left: embedded clusters, killed runs' Kubernetes clusters, older images
	$(BIN)/python -m fixtures gc $(ARGS)

docs: $(INSTALLED) ## make the generated parts of the documentation again
	$(BIN)/python docs/generate.py

lint: $(INSTALLED) ## ruff, mypy and import-linter on the whole tree, and actionlint where it is on PATH
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=.:image $(BIN)/lint-imports --no-cache --no-logo
	@if command -v actionlint; then actionlint $(WORKFLOWS); else echo "the workflows are not linted: no actionlint on PATH"; fi

lint-workflows: ## actionlint on the workflows, with shellcheck where there is one; the one on PATH, or built by Go
	@if command -v actionlint; then actionlint $(WORKFLOWS); \
	elif command -v go; then go run $(ACTIONLINT) $(WORKFLOWS); \
	else echo "lint-workflows needs actionlint or Go on PATH: https://github.com/rhysd/actionlint" >&2; exit 1; fi

install: $(INSTALLED) ## create .venv with the pinned packages, by uv where it is on PATH
	@echo "installed in $(VENV). Next: make doctor, then make e2e ARGS=--quick"

# The mark is set last: an installation that was cut off is done again.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
	  "Python %d.%d: Python 3.11 to 3.13 is needed. Name one with make PYTHON=python3.12" % v)'
	@echo "installing the packages of constraints.txt into $(VENV): once, about a minute and 3 GB"
	@$(PYTHON) -m venv $(VENV)
	@{ command -v uv >/dev/null && $(UV) -e '.[dev,kind]'; } || $(PIP) -e '.[dev,kind]'
	@touch $(INSTALLED)

# tf-keras without its dependencies: it asks for the full TensorFlow, which would overwrite tensorflow-cpu.
# PyTorch for Linux on x86-64 does not load without CUDA's libraries, which pip fetches with it (3 GB in all). A CPU
# build of the pinned version, installed into .venv before, is kept.
$(BENCH_INSTALLED): $(INSTALLED)
	$(PIP) --no-deps tf-keras
	$(PIP) -e '.[bench]'
	@touch $(BENCH_INSTALLED)

clean: ## remove .venv, caches and reports; the history of runs stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks *.egg-info
	find reports -mindepth 1 -maxdepth 1 ! -name history ! -name .gitkeep -exec rm -rf {} +
