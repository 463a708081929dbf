# Two commands of a fresh machine: `make paper` and `make test`. Both make the environment from the lock if it is missing.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do $$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
VENV_VLLM ?= .venv-vllm

.PHONY: paper record figures test test-vllm env env-vllm lab notebooks bench bench-vllm clean

paper: env  ## run the sections in the lab setting; out/figures/lab and out/report/index.html
	$(BIN)/rlvd paper

record: env  ## the same, and renew figures/, which is kept in git
	$(BIN)/rlvd paper --record

figures: env  ## draw what is measured and committed: the record and the published counts of real models
	$(BIN)/rlvd paper --only 10,11,13 --record

# The tests' models are so small that a second thread only waits for the first; a second process does not.
test: export OMP_NUM_THREADS ?= 1
# What library notebooks train, sections read: a store that is new for each run.
test: export RLVD_SCRATCH := $(CURDIR)/out/test
test: env  ## library notebooks, the in-sync check, pytest (which runs the sections through the command line)
	rm -rf $(RLVD_SCRATCH)
	$(BIN)/nbdev_test --n_workers 2 --path nbs/api
	$(BIN)/nbdev_test --path nbs/how_to_read_these_numbers.ipynb
	$(BIN)/nbdev_test --path nbs/more_than_one_machine.ipynb
	$(BIN)/python tools/in_sync.py
	$(BIN)/python -m pytest --numprocesses 2

test-vllm: export OMP_NUM_THREADS ?= 1
test-vllm: env-vllm  ## a real vLLM engine on the CPU, in an environment of its own
	$(VENV_VLLM)/bin/python -m pytest tests/with_vllm

env: $(READY)

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "rlvd_nb needs Python 3.11 or 3.12; found neither (set PYTHON=/path/to/python)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(READY)

env-vllm: $(VENV_VLLM)/ready

$(VENV_VLLM)/ready: requirements-vllm.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "rlvd_nb needs Python 3.11 or 3.12; found neither (set PYTHON=/path/to/python)"; exit 2; }
	$(PYTHON) -m venv $(VENV_VLLM)
	$(VENV_VLLM)/bin/python -m pip install --quiet --no-deps --requirement requirements-vllm.lock
	$(VENV_VLLM)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

lab: env  ## open the notebooks
	$(BIN)/jupyter lab nbs

notebooks: env  ## after editing a library notebook: export the modules, clean the notebooks
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean

bench: env  ## print the benchmark tables
	for script in $(filter-out benchmarks/engines.py, $(wildcard benchmarks/*.py)); do $(BIN)/python $$script || exit 1; done

bench-vllm: env-vllm  ## vLLM against the transformers sampler
	$(VENV_VLLM)/bin/python benchmarks/engines.py

clean:  ## remove what can be made again
	rm -rf $(VENV) $(VENV_VLLM) out build *.egg-info
