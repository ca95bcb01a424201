# `make demo` and `make test` need git, make and Python 3.11 or newer; the rest is set up in .venv.
PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
# Text is UTF-8, whatever the locale says.
export PYTHONUTF8 := 1
BIN := .venv/bin
READY := .venv/ready
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)
DEMO := $(SNAKEMAKE) --workflow-profile profiles/cpu --configfile studies/demo.yaml

.PHONY: demo status jobs test test-slurm check format report docs lock clean
.DEFAULT_GOAL := demo

## A small study on embedded data, to the table and the figures, on the CPU.
demo: $(READY)
	$(DEMO) --quiet rules
	$(DEMO) --quiet all --report results/demo/report.html
	@cat results/demo/tables/degradation.md
	@printf '\nTables   results/demo/tables\nFigures  results/demo/figures\nReport   results/demo/report.html\n'

## How far a study is: make status STUDY=studies/demo.yaml; FAILED=1 shows what failed and no more.
status: $(READY)
	@$(BIN)/python scripts/status.py $(if $(STUDY),--configfile $(STUDY)) $(if $(FAILED),--failed)

## This folder's jobs on Slurm: number, state, time so far, limit, node or reason, and which run it is.
jobs:
	@squeue --me --noheader --format='%Z|%i %T %M %l %R %k' | grep -F "$(CURDIR)|" | cut -d'|' -f2- | \
		sed -E -e '/_wildcards_/{ s/ rule_([a-z]+)_[a-z]+_wildcards_/ \1-/; s/_([0-9]+)$$/-r\1/; :a; s/_([^ ]*)$$/-\1/; ta; }'

## Formatters, linters and tests.
test: check
	$(BIN)/python -m pytest

## A tiny study on a real Slurm of one node, which ../shared/slurm starts; skipped where that is absent.
test-slurm: $(READY)
	$(BIN)/python -m pytest -m slurm -rs tests/slurm

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/snakefmt Snakefile rules

## One HTML page with the tables, figures and captions of config.yaml's study.
report: $(READY)
	$(SNAKEMAKE) --report results/report.html

## Copy the tables and figures that the documents show out of the studies that were run.
docs: $(READY)
	$(BIN)/python docs/update.py

## Resolve envs/requirements.in into versions and hashes; needs uv.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header \
		envs/requirements.in -o envs/requirements.txt

$(READY): envs/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --require-hashes --requirement envs/requirements.txt
	touch $@

clean:
	rm -rf results .snakemake
