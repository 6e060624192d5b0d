# Python >= 3.11 with venv, and make, are all that is needed: node and npm come from PyPI.
PYTHON ?= python3
VENV := .venv
# Programs are called by their path: GNU make 3.81, which macOS ships, may not look for them in a PATH that is exported here.
BIN := $(VENV)/bin
EMULATOR := .venv-ministack
TESTERS ?= 2
ARGS ?=
# The same examples of Hypothesis in every run, so that a run which fails fails again; ARGS="--hypothesis-seed=1" tries others.
PYTEST = $(BIN)/python -m pytest -n $(TESTERS) --dist=loadgroup --hypothesis-seed=0 $(ARGS)

export PATH := $(CURDIR)/$(BIN):$(CURDIR)/node_modules/.bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup server serve load integrity token test unit integration e2e e2e-aws check format figures pictures console synth template layer definitions lock licences settings audit clean

help: ## What can be made
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## Install everything: the server, the tests, the CDK
	@sh infra/dynoxide.sh "$(VENV)"

# What serving needs, and no more.
server: $(VENV)/.serves
	@sh infra/dynoxide.sh "$(VENV)"

# Written last: an interrupted set-up starts again where pip and npm left off.
$(VENV)/.ready: requirements.txt requirements-serve.txt layers/dependencies/requirements.txt layers/sealing/requirements.txt package.json package-lock.json infra/setup.sh
	@sh infra/setup.sh "$(PYTHON)" "$(VENV)" all
	@touch $(VENV)/.serves $@

# Once everything is installed, it is everything that is renewed: npm would take away what only the tests need.
$(VENV)/.serves: requirements-serve.txt layers/dependencies/requirements.txt layers/sealing/requirements.txt package.json package-lock.json infra/setup.sh
	@if [ -e $(VENV)/.ready ]; then part=all; else part=serve; fi; sh infra/setup.sh "$(PYTHON)" "$(VENV)" $$part
	@touch $@

serve: server ## The server on this machine: ARGS="--data DIR --empty --no-auth --port 8000"
	@exec $(BIN)/python -m infra.local $(ARGS)

load: server ## Post bundles to it: ARGS="PATH... [--base URL] [--token TOKEN]"
	@$(BIN)/python -m infra.local.load $(ARGS)

integrity: server ## Check a folder that no server uses: ARGS="--data DIR [--dry-run]"
	@$(BIN)/python -m infra.local.integrity $(ARGS)

token: server ## A token for it: ARGS="--scope '...' --accounts Organization/a --patient ID"
	@$(BIN)/python -m infra.local.token $(ARGS)

test: check ## All checks and all tests
	$(PYTEST) --ignore=tests/aws

unit: setup ## Tests of single modules
	$(PYTEST) tests/unit

integration: setup ## Tests of several modules together, on an emulated database
	$(PYTEST) tests/integration tests/infrastructure

e2e: setup ## Tests of the running server, over HTTP
	$(PYTEST) tests/e2e

# The emulator pins versions of its own packages, so it lives apart. Its functions run on its Python, which the layers are made for.
$(EMULATOR)/.ready: tests/aws/requirements.txt
	@$(PYTHON) -m venv --clear $(EMULATOR)
	$(EMULATOR)/bin/python -m pip install --quiet --no-deps --require-hashes --requirement tests/aws/requirements.txt
	@touch $@

e2e-aws: setup $(EMULATOR)/.ready ## Tests of the template, deployed into an emulated AWS account that enforces IAM
	$(BIN)/python -m pytest $(ARGS) tests/aws

check: setup ## Format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup ## Put the code into form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

figures: setup ## Speed and cost; at 100,000 resources with ARGS=--large; as a table grows to a million with ARGS=--huge
	$(BIN)/python -m tests.load $(ARGS)

pictures: setup ## Draw the pictures of the console in docs/images (it needs Chromium)
	$(BIN)/python -m tests.support.pictures

console: setup ## Copy Lit and Pico CSS from node_modules into the console
	$(BIN)/python -m infra.console_assets

synth: setup ## The CloudFormation templates, in cdk.out: ARGS="-c issuer=https://... -c audience=..."
	node_modules/.bin/cdk synth --quiet $(ARGS)

template: setup ## One template with its zip files, for who has no CDK, in build/template: ARGS as for synth
	$(BIN)/python -m infra.template $(ARGS)

layer: setup ## The Lambda layers of third-party packages, in build/layer
	rm -rf build/layer
	$(BIN)/python layers/dependencies/build.py layers/dependencies/requirements.txt build/layer/dependencies
	$(BIN)/python layers/dependencies/build.py layers/sealing/requirements.txt build/layer/sealing

definitions: setup ## Compile HL7's definitions
	$(BIN)/python -m infra.compile_definitions $(ARGS)

# uv and pip-audit bring packages of their own, so they live apart from what they look at.
build/audit/bin/%:
	@$(PYTHON) -m venv build/audit && build/audit/bin/python -m pip install --quiet uv==0.13.9 pip-audit==2.10.1

lock: build/audit/bin/uv ## Write the hashes into the lists of packages
	PATH="$(CURDIR)/build/audit/bin:$$PATH" $(BIN)/python -m infra.lock

licences: setup ## Write docs/operations/licences.md
	$(BIN)/python -m infra.licences

settings: server ## Write docs/settings.md
	PYTHONPATH=layers/bulkhead/python $(BIN)/python -m infra.settings_page > docs/settings.md

audit: build/audit/bin/pip-audit ## Look for known vulnerabilities in all packages (it asks pypi.org)
	build/audit/bin/pip-audit --disable-pip --require-hashes --requirement requirements.txt

clean: ## Remove what was installed and made
	rm -rf $(VENV) $(EMULATOR) node_modules cdk.out build .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis
