# All commands of this project. `.ci/run` calls `make check` and `make compose`.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
SEED ?= 1
SECONDS ?= 60
ITEMS ?= 2000
EXAMPLES ?= 100
# Device of `make gpu`.
DEV ?= cuda
# The last commit before the packages were reorganised.
PREVIOUS ?= 870a4d5
# More processes than cores: most tests wait for servers and other processes.
PYTEST_ARGS ?= -n 3 --dist worksteal

# Folders of test files for `make fuzz`; without any it clones public ones into out/fixtures.
FIXTURES ?=

.PHONY: install demo serve test check lint types imports wheel fmt bench gpu presets-table chaos upgrade damage fuzz fuzz-http fronts compose constraints

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[worker,gateway,gpu,heif,local,dev]'
	touch $@

demo: install
	$(BIN)/python examples/demo.py

# The HTTP API on this machine, with Redis, S3 and a worker; prints the address and an API key.
serve: install
	$(BIN)/rmbg serve out/serve $(SERVE_ARGS)

test: install
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: lint types imports test wheel

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

types: install
	$(BIN)/mypy

imports: install
	$(BIN)/lint-imports

wheel: install
	rm -rf dist
	$(BIN)/python -m build --wheel --outdir dist >/dev/null
	$(BIN)/python tests/packaging/check_wheel.py dist

fmt: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/run.py

# Check and measure a GPU; PARTS selects parts, DEV=cpu tries the code with tiny sizes.
gpu: install
	DEV=$(DEV) $(BIN)/python -m benchmarks.gpu $(PARTS)

# Write docs/presets.md from photographs and their masks; benchmarks/presets.py says what they are.
presets-table: install
	$(BIN)/python benchmarks/presets.py --photos $(PHOTOS) --masks $(MASKS)

chaos: install
	$(BIN)/python tests/chaos/run.py --seed $(SEED) --seconds $(SECONDS) --items $(ITEMS) $(if $(SABOTAGE),--sabotage $(SABOTAGE))

# Let workers and producers of the commit PREVIOUS and of this tree share one system, with faults.
upgrade: install
	$(BIN)/python tests/chaos/upgrade.py --previous $(PREVIOUS) --seed $(SEED) --seconds $(SECONDS) --items $(ITEMS)

fuzz: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	$(BIN)/python tests/fuzz/fuzz_decode.py --seed $(SEED) --files 20000
	$(BIN)/python tests/fuzz/compare_decoders.py $(if $(FIXTURES),$(FIXTURES),--fetch out/fixtures)

# Damage files, and count what is accepted without a note; `cjpeg` adds arithmetic coding.
damage: install
	$(BIN)/python tests/fuzz/damage_corpus.py

# Test the HTTP API by its OpenAPI document with EXAMPLES requests per operation and phase.
fuzz-http: install
	SCHEMATHESIS_EXAMPLES=$(EXAMPLES) SCHEMATHESIS_SEED=$(SEED) $(BIN)/python -m pytest -s tests/integration/gateway/test_openapi.py

# Test the APIs of other services with their published clients; the one from npm needs node.
fronts: install
	npm install --silent --no-audit --no-fund --prefix out/fronts remove.bg@1.3.0
	$(BIN)/python -m pytest tests/integration/gateway/fronts

# Run the compose file; without a Docker engine, print why this is skipped.
compose: install
	tests/compose/engine.sh $(BIN)/python tests/compose/run.py

constraints:
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt
	echo onnxruntime-gpu==1.31.1 >> constraints.txt # never installed beside onnxruntime
	echo torch-tensorrt==2.13.0 >> constraints.txt # its version is that of torch; gigabytes
