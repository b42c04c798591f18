# make, make venv    everything in .venv that it takes to work on hpczmq
# make demo          only what it takes to run; then a short tour that ends with pictures on disk
# make test          lint, then all tests but the slow ones, with coverage; what CI runs
# make lint          ruff, mypy, and the stubs of the compiled modules
# make nightly       all tests, the slow ones too, with many more examples
# make simulate      seeded worlds in which all goes wrong, on every core, for MINUTES=10
# make fuzz          the fuzzer, for MINUTES=10 in all; what it finds goes into its corpus
# make bench         the benchmarks
# make scorecard     docs/scorecard.md: faults, here and in other systems; 25 minutes
# make wheel         dist/: the source archive, and the wheel that was built from it
# make pictures      the pictures of the documentation
# make audit         known vulnerabilities of what constraints*.txt pin; needs a network
# make constraints   looks for newer versions and pins them, with their hashes
# make clean         takes away everything that make has made
#
# PYTHON=python3.12 make … uses another Python. pip's configuration is the user's own: no index,
# no certificate and no proxy is named here.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := setup.py hpczmq/kernels/_julia.pyx $(wildcard hpczmq/kernels/escape*)

.DEFAULT_GOAL := venv
.DELETE_ON_ERROR:
.PHONY: venv demo test lint nightly simulate fuzz bench scorecard wheel pictures constraints audit clean

venv: .venv/.develop

demo: .venv/.run
	$(BIN)/hpczmq demo

test: lint
	$(BIN)/python -m tests.lanes

lint: .venv/.develop
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@if $(BIN)/python -c 'import hpczmq.kernels._julia' 2>/dev/null; \
	then echo stubtest && $(BIN)/stubtest --mypy-config-file pyproject.toml hpczmq.kernels._julia; \
	else echo "stubtest is left out: hpczmq.kernels._julia is not compiled (is there a compiler?)"; fi

nightly: .venv/.develop
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest --cov -o faulthandler_timeout=3600

MINUTES ?= 10
simulate: .venv/.develop
	$(BIN)/python -m hpczmq.simulation --minutes $(MINUTES)

fuzz: .venv/.develop
	for target in decoder scheduler slave client memoria; do \
	$(BIN)/python -m tests.fuzz $$target --seconds $$(( $(MINUTES) * 12 )) --seed $$(date +%N) --grow || exit 1; done

bench: .venv/.develop
	$(BIN)/python -m benchmarks.kernels
	$(BIN)/python -m benchmarks.partition --run
	$(BIN)/python -m benchmarks.placement
	$(BIN)/python benchmarks/systems.py

scorecard: .venv/.develop
	$(BIN)/python -m benchmarks.scorecard

wheel: .venv/.develop
	rm -rf build dist
	$(BIN)/python -m build --no-isolation

pictures: .venv/.develop
	$(BIN)/python docs/pictures.py

# The environment, in two layers, each with its stamp. Versions and hashes are checked first and
# the project comes on its own, since a folder has no hash. The lists are complete: pip must not
# look for a `coverage[toml]` by itself, and trip over a newer one that has no hash here.
.venv/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	"hpczmq needs Python 3.11 or newer; '$(PYTHON)' is not. Try: make PYTHON=python3.12 …" >&2; \
	exit 1; }
	@# Debian keeps ensurepip in a package of its own; a pip outside can fill in for it.
	@$(PYTHON) -m venv --clear .venv >.venv.log 2>&1 \
	|| { $(PYTHON) -m venv --clear --without-pip .venv \
	     && $(PYTHON) -m pip --python $(BIN)/python install -q pip; } >>.venv.log 2>&1 \
	|| { cat .venv.log >&2; rm -rf .venv .venv.log; echo \
	"No virtual environment can be made. On Debian and Ubuntu: apt install python3-venv" >&2; \
	exit 1; }
	@rm .venv.log
	@touch $@

.venv/.run: .venv/.python pyproject.toml constraints-run.txt hpczmq/_version.py $(SOURCES)
	$(PIP) install -q --require-hashes --no-deps -r constraints-run.txt
	$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

.venv/.develop: .venv/.run constraints.txt
	$(PIP) install -q --require-hashes --no-deps -r constraints.txt
	@touch $@

# uv is the one tool that resolves for all platforms and Pythons at once. It does not read pip's
# configuration, so it is told the index. cffi and pycparser would be for PyPy only.
UV := .cache/uv/bin/uv
COMPILE = UV_DEFAULT_INDEX="$(shell $(PIP) config get global.index-url 2>/dev/null)" $(UV) \
	pip compile --quiet --system-certs --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-header --no-annotate --no-emit-package cffi \
	--no-emit-package pycparser pyproject.toml .cache/build.txt
BUILD := import tomllib; \
	print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")

constraints: .venv/.python
	$(BIN)/python -m venv .cache/uv
	.cache/uv/bin/python -m pip install -q uv
	$(BIN)/python -c '$(BUILD)' >.cache/build.txt
	$(COMPILE) --all-extras >.cache/all.txt
	$(COMPILE) --constraints .cache/all.txt >.cache/run.txt
	{ echo '# Everything that developing and testing takes; made by: make constraints'; \
	  cat .cache/all.txt; } >constraints.txt
	{ echo '# What building and running takes, out of constraints.txt; made by: make constraints'; \
	  cat .cache/run.txt; } >constraints-run.txt

# pip-audit comes from the index like uv. It exits with 1 for what it found and for a database that
# can't be reached alike; only a report on standard output tells the first. The second is no fault
# of the pinned versions, so it is said, and passes.
audit: .venv/.python
	$(BIN)/python -m venv .cache/audit
	@.cache/audit/bin/python -m pip --disable-pip-version-check install -q pip-audit \
	|| { echo "not audited: pip-audit can't be installed (no network?)"; exit 0; }; \
	for list in constraints.txt constraints-run.txt; do \
	  .cache/audit/bin/pip-audit --require-hashes --disable-pip --progress-spinner off \
	    --format columns --requirement $$list >.cache/audit.txt 2>.cache/audit.log; code=$$?; \
	  skipped=$$(grep -c 'could not be audited' .cache/audit.txt); pinned=$$(grep -c '==' $$list); \
	  if [ $$code -eq 0 ] && [ $$skipped -gt 0 ]; then \
	    echo "$$list: $$skipped of $$pinned packages not audited, since the database that answers" \
	      "does not know them; nothing known of the others"; \
	  elif [ $$code -eq 0 ]; then echo "$$list: nothing known"; \
	  elif [ -s .cache/audit.txt ]; then cat .cache/audit.txt; exit 1; \
	  else echo "$$list: not audited, no database answers: $$(tail -n 1 .cache/audit.log)"; fi; \
	done

clean:
	rm -rf .venv .cache .bench build dist *.egg-info .coverage .coverage.* .mypy_cache .pytest_cache \
	  .ruff_cache .hypothesis hpczmq/kernels/*.so hpczmq/kernels/_julia.c
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
