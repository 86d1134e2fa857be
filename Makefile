# make train: set up and train the default model. make test: set up and run all checks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One thread a process: two ranks, two jobs or two tests must not fight over the cores.
export OMP_NUM_THREADS ?= 1
ARGS ?=

.PHONY: train test setup lint bench-density bench-longrange bench-attention bench-data bench-memory \
	bench-speed bench-kills clean

train: setup
	$(BIN)/python train.py $(ARGS)

test: setup
	$(BIN)/ruff check .
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(ARGS)

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
	rm -rf $(VENV) build src/*.egg-info
