# make train: set up and train the default model. make test: set up and run all checks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One thread a process: two ranks, two jobs or two tests must not fight over the cores.
export OMP_NUM_THREADS ?= 1
ARGS ?=

.PHONY: train test test-lowest test-newest lowest newest setup lint bench-density bench-longrange bench-attention bench-data bench-memory \
	bench-speed bench-kills clean

train: setup
	$(BIN)/python train.py $(ARGS)

test: setup
	$(BIN)/ruff check .
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(ARGS)

# Both ends of the declared versions, each in a fresh environment: the fast tests in the one, then
# a training, a resume and an evaluation across the two.
test-lowest: lowest newest
	$(call fast-tests,.venv-lowest)

test-newest: lowest newest
	$(call fast-tests,.venv-newest)

lowest: setup
	$(call fresh,.venv-lowest,lowest-direct)

newest: setup
	$(call fresh,.venv-newest,highest)

FAST := tests/utils tests/test_configs.py tests/data/test_digits.py tests/flows/test_glow.py \
	tests/cli/test_resume.py tests/models/test_bits.py tests/training/test_checkpoint_io.py \
	tests/callbacks/test_picture_callbacks.py tests/transforms/test_exactness.py \
	tests/metrics/test_domain.py tests/data/test_public_sets.py

# Runs the fast tests in the environment $(1), and what goes across both.
define fast-tests
	$(1)/bin/python -m pytest --numprocesses auto -m 'not slow' $(FAST) $(ARGS)
	$(BIN)/python tests/versions.py .venv-lowest/bin/python .venv-newest/bin/python
endef

# Makes the environment $(1), of the versions that the resolution $(2) chooses.
define fresh
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(1)
	$(BIN)/uv pip install --quiet --python $(1) --resolution $(2) -e '.[dev]'
endef

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench-density: setup
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python benchmarks/density.py $(ARGS)

bench-longrange: setup
	$(BIN)/python benchmarks/longrange.py $(ARGS)

bench-attention: setup
	$(BIN)/python benchmarks/attention.py $(ARGS)

bench-data: setup
	$(BIN)/python benchmarks/data.py $(ARGS)

bench-memory: setup
	$(BIN)/python benchmarks/memory.py $(ARGS)

bench-speed: setup
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python benchmarks/speed.py $(ARGS)

bench-kills: setup
	$(BIN)/python benchmarks/kills.py $(ARGS)

clean:
	rm -rf $(VENV) .venv-lowest .venv-newest build src/*.egg-info
