# Python >= 3.11 with venv, and make, are all that is needed: node and npm come from PyPI.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTERS ?= 2
ARGS ?=

export PATH := $(CURDIR)/$(BIN):$(CURDIR)/node_modules/.bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup serve load integrity token test check format figures synth layer definitions clean

setup: $(READY)

# Written last: an interrupted set-up starts again where pip and npm left off.
$(READY): requirements.txt layers/dependencies/requirements.txt package.json package-lock.json infra/setup.sh
	sh infra/setup.sh "$(PYTHON)" "$(VENV)"
	touch $@

serve: setup
	exec python -m infra.local $(ARGS)

load: setup
	python -m infra.local.load $(ARGS)

# Of a folder that no server uses: ARGS="--data DIR [--dry-run]".
integrity: setup
	@python -m infra.local.integrity $(ARGS)

token: setup
	@python -m infra.local.token $(ARGS)

test: check
	python -m pytest -n $(TESTERS) --dist=loadgroup $(ARGS)

check: setup
	ruff format --check .
	ruff check .
	mypy

format: setup
	ruff format .
	ruff check --fix .

# Speed and cost; also at 100,000 resources with ARGS=--large.
figures: setup
	python -m tests.load $(ARGS)

synth: setup
	cdk synth --quiet $(ARGS)

layer: setup
	rm -rf build/layer
	python layers/dependencies/build.py build/layer

definitions: setup
	python -m infra.compile_definitions $(ARGS)

clean:
	rm -rf $(VENV) node_modules cdk.out build .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis
