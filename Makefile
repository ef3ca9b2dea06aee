# `make demo` and `make test` need nothing but Python 3.11+, Node 20.19+ and make: they set up the rest.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

PYTHON_READY := .venv/.ready
NODE_READY := node_modules/.ready
BROWSER_READY := build/browser
REPORTS := build/reports
VITEST := node_modules/.bin/vitest run --reporter=default --reporter=junit
WEB := examples/flowcraft/web
WORKSPACES := $(wildcard packages/*/package.json $(WEB)/package.json)

.PHONY: help demo test check unit e2e bench-latency build format lock setup clean

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup build ## run the example app: PostgreSQL, server and web page (PORT=... to choose the port)
	npm run --silent build -w $(WEB)
	.venv/bin/python -m examples.flowcraft.demo

test: check unit e2e ## everything that must hold: static gates, Python and TypeScript tests, the app in a browser
	@.venv/bin/python scripts/sum_reports.py $(REPORTS)/python.xml $(REPORTS)/typescript.xml $(REPORTS)/e2e.xml

check: setup build ## static gates only: lint, format, types, layers, drift
	@scripts/check

unit: setup build ## the Python and the TypeScript tests, up to end to end
	.venv/bin/python -m pytest --junitxml=$(REPORTS)/python.xml
	$(VITEST) --outputFile.junit=$(REPORTS)/typescript.xml

e2e: setup build $(BROWSER_READY) ## the example app in a real browser
	npm run --silent build -w $(WEB)
	CHROMIUM="$$(cat $(BROWSER_READY))" node_modules/.bin/vitest run --config tests/e2e/vitest.config.ts \
		--reporter=default --reporter=junit --outputFile.junit=$(CURDIR)/$(REPORTS)/e2e.xml

build: setup ## the npm package
	@npm run --silent build -w packages/realtime

format: setup ## rewrite what the formatters can mend
	.venv/bin/ruff check --fix --exit-zero --quiet .
	.venv/bin/ruff format .
	node_modules/.bin/eslint --fix .

lock: ## resolve the dependencies anew (upgrade: make lock UPGRADE=1, or UPGRADE=<package>)
	@scripts/lock $(UPGRADE)

setup: $(PYTHON_READY) $(NODE_READY)

$(PYTHON_READY): requirements.lock pyproject.toml scripts/setup
	@scripts/setup python
	@touch $@

$(NODE_READY): package-lock.json package.json $(WORKSPACES) .npmrc scripts/setup
	@scripts/setup node
	@touch $@

$(BROWSER_READY): scripts/setup
	@mkdir -p $(@D)
	@scripts/setup browser >$@

clean: ## remove everything that was built or installed
	rm -rf .venv node_modules build packages/*/dist packages/*/node_modules $(WEB)/dist $(WEB)/node_modules tests/e2e/node_modules
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

bench-latency: setup build $(BROWSER_READY) ## how long from a commit to the page
	CHROMIUM="$$(cat $(BROWSER_READY))" node benchmarks/run.mjs latency
