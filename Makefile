# Targets, of which make help lists those with a line behind two hashes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One thread a process: two ranks, two jobs or two tests must not fight over the cores.
export OMP_NUM_THREADS ?= 1
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help train test test-fast test-lowest test-newest lowest newest setup data-natural \
	model-digits lint format types bench-density bench-longrange bench-attention \
	bench-sampling bench-data bench-memory bench-large-data bench-speed bench-recipe-speed \
	bench-gpu bench-kills docs docs-serve docs-pictures clean

help: ## list the targets; ARGS="..." adds arguments to a target's command
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

train: $(VENV)/.runs ## set up .venv with what training needs, and train the default model
	$(BIN)/python train.py $(ARGS)

test: lint types ## set up .venv, check style and types, and run every test
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(ARGS)

test-fast: setup ## the tests of a minute
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal -m 'not slow' $(FAST) $(ARGS)

# Both ends of the declared versions, each in a fresh environment: the fast tests in the one, then
# a training, a resume and an evaluation across the two.
test-lowest: lowest newest ## the fast tests with the lowest versions that pyproject.toml declares
	$(call fast-tests,.venv-lowest)

test-newest: lowest newest ## the fast tests with the newest versions
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

# uv where it is installed, which is quicker, and pip elsewhere.
UV := $(shell command -v uv)
PIP = $(if $(UV),$(UV) pip install --python $(BIN)/python,$(BIN)/pip install --disable-pip-version-check)

# Installs $(1) in .venv, which is made where it is not there.
define install
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --quiet -e $(1)
endef

$(VENV)/.runs: pyproject.toml
	$(call install,.)
	touch $@

setup: $(VENV)/.installed ## make .venv with everything that development needs

$(VENV)/.installed: pyproject.toml
	$(call install,'.[dev]')
	touch $@ $(VENV)/.runs

# Wallpapers of which the list of data=natural16 names those that are used.
NATURAL := plasma-workspace-wallpapers lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 \
	mate-backgrounds

data-natural: ## fetch the photographs of data=natural16 as Debian packages, without root
	mkdir -p data/natural
	cd data/natural && apt-get download $(NATURAL)
	cd data/natural && for package in *.deb; do dpkg -x "$$package" . || exit 1; done

# A class-conditional model of 8 x 8 digits, which is small enough to lie in the repository.
model-digits: setup ## train and export the model that lies in models/digits
	$(BIN)/python train.py experiment=digits_tarflow conditioning=class \
		conditioning.condition_dropout=0.1 trainer=cpu \
		hydra.run.dir=logs/train/runs/model_digits overwrite=true
	rm -rf models/digits
	$(BIN)/attnflow export ckpt_path=logs/train/runs/model_digits out=models/digits license=mit \
		title="Digits of 8 x 8 pixels" intended_use="To try the commands on."

lint: setup ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## mend what ruff can, and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup ## check types
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: setup ## build the documentation into docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -n -q -b html docs docs/_build/html

docs-serve: docs ## build the documentation and serve it at http://127.0.0.1:8000
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory docs/_build/html 8000

docs-pictures: setup ## train small models and draw the pictures of README and the documentation
	$(BIN)/python docs/pictures.py $(ARGS)

bench-density: setup ## bits/dim at equal CPU seconds, beside other libraries
	$(call install,'.[bench]')
	$(BIN)/python benchmarks/density.py $(ARGS)

bench-longrange: setup ## how much of a far dependence each flow and attention finds
	$(BIN)/python benchmarks/longrange.py $(ARGS)

bench-attention: setup ## what attention adds at equal steps or CPU seconds
	$(BIN)/python benchmarks/attention.py $(ARGS)

bench-sampling: setup ## what each way to sample from a TarFlow costs
	$(BIN)/python benchmarks/sampling.py $(ARGS)

bench-data: setup ## images a second that each data set delivers
	$(BIN)/python benchmarks/data.py $(ARGS)

bench-memory: setup ## memory of a training step by depth
	$(BIN)/python benchmarks/memory.py $(ARGS)

bench-large-data: setup ## memory of reading by the number of images
	$(BIN)/python benchmarks/large_data.py $(ARGS)

bench-speed: setup ## seconds of training steps and samples
	$(call install,'.[bench]')
	$(BIN)/python benchmarks/speed.py $(ARGS)

bench-recipe-speed: setup ## what a step, log_prob and a sample of each recipe cost
	$(BIN)/python benchmarks/recipe_speed.py $(ARGS)

# Within 8 minutes on one GPU.
bench-gpu: setup ## speed and memory on a GPU, in bfloat16 and compiled too
	$(BIN)/python benchmarks/recipe_speed.py --device cuda --compiled --repeats 5 \
		--recipes "digits, imap" "photos, itrans" "natural16, none"
	$(BIN)/python benchmarks/speed.py --device cuda --peers --hidden 256 --repeats 5
	$(BIN)/python benchmarks/memory.py --device cuda --steps 4 16

bench-kills: setup ## trainings that are killed and resumed
	$(BIN)/python benchmarks/kills.py $(ARGS)

clean: ## remove the environments and what was built
	rm -rf $(VENV) .venv-lowest .venv-newest build docs/_build src/*.egg-info
