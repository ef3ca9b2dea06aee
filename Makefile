# `make demo` and `make test` need nothing but Python 3.11+, Node 20.19+ and make: they set up the rest.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
# Images of Python set it, and then every process compiles what it imports: pytest takes 16 s to collect instead of 6.
unexport PYTHONDONTWRITEBYTECODE

PYTHON_READY := .venv/.ready
NODE_READY := node_modules/.ready
BROWSER_READY := build/browser
NATS_READY := build/nats
NEWEST_NATS_READY := build/newest-nats
FIREFOX_READY := build/firefox
PEERS := build/peers
PEERS_READY := $(PEERS)/.ready
WITH_PEERS := PYTHONPATH=src $(PEERS)/bin/python
RESULTS := benchmarks/results
IN_BROWSER = CHROMIUM="$$(cat $(BROWSER_READY))" node benchmarks/run.mjs
REPORTS := build/reports
SUITES = CHROMIUM="$$(cat $(BROWSER_READY) 2>/dev/null)" .venv/bin/python -m scripts.run_suites
FAULTS = .venv/bin/python -m faults $(if $(SEED),--seed $(SEED)) --junit $(REPORTS)/faults.xml
WEB := examples/flowcraft/web
ORDERS := examples/orders/web
WORKSPACES := $(wildcard packages/*/package.json examples/*/web/package.json)

.PHONY: help demo orders test test-world check docs unit e2e faults faults-counts faults-long bench bench-full bench-fanout bench-log bench-latency fuzz build package format lock setup clean

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup build ## run the example app: PostgreSQL, server and web page (PORT=... to choose the port, EDGE=nats through NATS)
	npm run --silent build -w $(WEB)
	.venv/bin/python -m examples.flowcraft.demo

orders: setup build ## run the smaller example: orders, balances and their live page (PORT=... too)
	npm run --silent build -w $(ORDERS)
	.venv/bin/python -m examples.orders

test: setup build $(NATS_READY) $(BROWSER_READY) ## everything that must hold: static gates, tests, the app in a browser, the fault harness
	@npm run --silent build -w $(WEB) -w $(ORDERS)
	@$(SUITES) check+typescript python e2e+faults

test-world: setup build $(NATS_READY) $(NEWEST_NATS_READY) $(BROWSER_READY) $(FIREFOX_READY) ## what takes longer: every PostgreSQL, every version of what we plug into, strangers' projects
	@FIREFOX="$$(cat $(FIREFOX_READY))" $(SUITES) browsers firefox webkit world

check: setup build ## static gates only: lint, format, types, layers, drift
	@scripts/check

unit: setup build $(NATS_READY) ## the Python and the TypeScript tests, up to end to end
	@$(SUITES) typescript python

e2e: setup build $(BROWSER_READY) ## the example apps in a real browser
	@npm run --silent build -w $(WEB) -w $(ORDERS)
	@$(SUITES) e2e

faults: setup build $(NATS_READY) ## the promise under every fault, a line per invariant (SEED=... repeats a run)
	$(FAULTS) --json build/faults-ci.json

# On a machine that others use too, a time that was exceeded is reported and fails nothing.
faults-counts: setup build $(NATS_READY)
	@$(SUITES) faults

faults-long: setup build ## the same at five times the rate, about 16 minutes; its figures go into the docs
	$(FAULTS) --size long --json docs/faults/long.json
	.venv/bin/python -m faults.report

bench: FANOUT = --rounds 3 --seconds 2
bench: LOG = --rounds 3
bench: GROWTH = --rounds 1
bench-full: FANOUT = --rounds 7 --seconds 5
bench-full: LOG = --rounds 5
bench bench-full: setup build $(PEERS_READY) $(BROWSER_READY) ## ours beside the peers, a quarter of an hour or more; writes docs/benchmarks.md
	$(WITH_PEERS) -m benchmarks.fanout $(FANOUT) --json $(RESULTS)/fanout.json
	.venv/bin/python -m benchmarks.fanout.workers --json $(RESULTS)/workers.json
	.venv/bin/python -m benchmarks.fanout.storm --json $(RESULTS)/storm.json
	.venv/bin/python -m benchmarks.log $(LOG) --json $(RESULTS)/log.json
	.venv/bin/python -m benchmarks.growth $(GROWTH) --json $(RESULTS)/growth.json
	.venv/bin/python -m benchmarks.sizing --rounds 1 --json $(RESULTS)/sizing.json
	$(IN_BROWSER) latency 300 $(RESULTS)/latency.json
	$(IN_BROWSER) burst 7 $(RESULTS)/browser.json
	$(WITH_PEERS) -m benchmarks.report --plots

bench-fanout: setup $(PEERS_READY) ## messages per second to thousands, beside the peers (FANOUT="--rounds 3 --only FlowCraft,picows")
	$(WITH_PEERS) -m benchmarks.fanout --json build/fanout.json $(FANOUT)

bench-log: setup ## what the log in PostgreSQL costs and carries
	.venv/bin/python -m benchmarks.log

fuzz: setup ## the fan-out in C, with sanitizers, in 5,000 random situations beside the one in Python
	FAN_OUT_SEEDS=5000 .venv/bin/python -m pytest -q -rs tests/carriers/test_fan_out_sanitizers.py

docs: setup ## the site of docs/ in build/site, every link of it checked
	@scripts/site

build: setup ## the npm package
	@npm run --silent build -w packages/realtime

package: setup ## what is published, into build/dist: npm tarball, wheel, source archive
	@scripts/package

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

$(NATS_READY): scripts/setup
	@mkdir -p $(@D)
	@scripts/setup nats >$@

$(NEWEST_NATS_READY): scripts/setup tests/edge/nats_server/go.mod
	@mkdir -p $(@D)
	@scripts/setup newest-nats >$@

$(FIREFOX_READY): scripts/setup
	@mkdir -p $(@D)
	@scripts/setup engines >$@

$(PEERS_READY): benchmarks/peers.lock benchmarks/fanout/package-lock.json benchmarks/centrifugo/go.sum $(PYTHON_READY) scripts/setup
	@scripts/setup peers
	@touch $@

clean: ## remove everything that was built or installed
	rm -rf .venv node_modules build packages/*/dist packages/*/node_modules $(WEB)/dist $(WEB)/node_modules $(ORDERS)/dist $(ORDERS)/node_modules tests/e2e/node_modules
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

bench-latency: setup build $(BROWSER_READY) ## how long from a commit to the page
	$(IN_BROWSER) latency
