# `make demo` and `make test` need git, make and Python 3.11 or newer; the rest is set up in .venv: what runs need for
# `demo`, what checks need beside it for `test`.
PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
# Text is UTF-8, whatever the locale says.
export PYTHONUTF8 := 1
BIN := .venv/bin
READY := .venv/ready
READY_TO_CHECK := .venv/ready-to-check
CLEANLAB := .venv/ready-for-cleanlab
SIMPLEITK := .venv/ready-for-simpleitk
OPENCV := .venv/ready-for-opencv
NNUNET := .venv/ready-for-nnunet
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)
# Overlays config.yaml: `make status STUDY=studies/demo.yaml`.
STUDY ?=
OVERLAY = $(if $(STUDY),--configfile $(STUDY))
DEMO := $(SNAKEMAKE) --workflow-profile profiles/cpu --configfile studies/demo.yaml

LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-header
# Lists that are installed beside requirements.txt.
EXTRAS := checks cleanlab simpleitk opencv nnunet

CASES ?=
EFFECT ?=
RUN ?=

.PHONY: demo status plan answer verify jobs cleanlab simpleitk opencv nnunet test test-slurm check format report docs lock clean known-study
.DEFAULT_GOAL := demo

## A small study on embedded data, to the table and the figures, on the CPU.
demo: $(READY)
	$(DEMO) --quiet rules
	$(DEMO) --quiet all --report results/demo/report.html
	@cat results/demo/tables/answer.md
	@printf '\nTables   results/demo/tables\nFigures  results/demo/figures\nReport   results/demo/report.html\n'

## How far a study is: make status STUDY=studies/demo.yaml; FAILED=1 shows what failed and no more.
status: known-study $(READY)
	@$(BIN)/python scripts/status.py $(OVERLAY) $(if $(FAILED),--failed)

## What a study can find of its claims, before any training: make plan STUDY=studies/demo.yaml CASES=20 EFFECT=0.02.
plan: known-study $(READY)
	@$(BIN)/python scripts/plan.py $(OVERLAY) $(if $(CASES),--cases $(CASES)) $(if $(EFFECT),--effect $(EFFECT))

## What a finished study says: make answer STUDY=studies/budget.yaml.
answer: known-study $(READY)
	@$(BIN)/python scripts/print_answer.py $(OVERLAY)

## Train a finished run again elsewhere and compare byte by byte: make verify STUDY=studies/demo.yaml; RUN= names it.
verify: known-study $(READY)
	@$(BIN)/python scripts/verify_run.py $(OVERLAY) $(if $(RUN),--run $(RUN))

## This folder's jobs on Slurm: number, state, time so far, limit, node or reason, and which run it is.
jobs:
	@squeue --me --noheader --format='%Z|%i %T %M %l %R %k' | grep -F "$(CURDIR)|" | cut -d'|' -f2- | \
		sed -E -e '/_wildcards_/{ s/ rule_([a-z]+)_[a-z]+_wildcards_/ \1-/; s/_([0-9]+)$$/-r\1/; :a; s/_([^ ]*)$$/-\1/; ta; }'

## cleanlab, for studies that ask for its scores of labels.
cleanlab: $(CLEANLAB)

## SimpleITK, for a consensus of annotators by STAPLE.
simpleitk: $(SIMPLEITK)

## OpenCV, which a benchmark compares with.
opencv: $(OPENCV)

## nnU-Net, for studies whose models have `trainer: nnunet`.
nnunet: $(NNUNET)

## What `check` does, then the tests.
test: check
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

## A tiny study on a real Slurm of one node, which ../shared/slurm starts; skipped where that is absent.
test-slurm: $(READY_TO_CHECK)
	$(BIN)/python -m pytest -m slurm -rs tests/slurm

## Formatters, linters and the type checker.
check: $(READY_TO_CHECK)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint
	$(BIN)/mypy

format: $(READY_TO_CHECK)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/snakefmt Snakefile rules

## One HTML page with a study's tables, figures and captions: make report STUDY=studies/demo.yaml.
report: known-study $(READY)
	@$(BIN)/python scripts/make_report.py $(OVERLAY)

## Copy the tables and figures that the documents show out of the studies that were run, and out of docs/speed/.
docs: $(READY)
	$(BIN)/python docs/update.py
	$(BIN)/python docs/speed.py

## Resolve the lists in envs/ into versions and hashes, those of EXTRAS without what requirements.txt holds; needs uv.
lock: lock-requirements $(EXTRAS:%=lock-%)

lock-requirements:
	$(LOCK) envs/requirements.in -o envs/requirements.txt

$(EXTRAS:%=lock-%): lock-%:
	$(LOCK) envs/$*.in -o envs/$*.txt --constraint envs/requirements.txt $(addprefix --override ,$(wildcard envs/$*.overrides)) \
		$$(sed -nE 's/^([a-z0-9-]+)==.*/--no-emit-package \1/p' envs/requirements.txt | sort -u)

# Comes before .venv, so that a mistyped study installs nothing.
known-study:
	@for study in $(STUDY); do test -f "$$study" || { \
		echo "error: STUDY=$$study is not a file here; studies are $(wildcard studies/*.yaml)" >&2; exit 1; }; done

$(READY): envs/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --require-hashes --requirement envs/requirements.txt
	touch $@

# Both lists at once: what the second needs of the first is pinned there.
$(READY_TO_CHECK): envs/checks.txt $(READY)
	$(BIN)/python -m pip install --require-hashes --requirement envs/requirements.txt --requirement envs/checks.txt
	touch $@

$(CLEANLAB) $(SIMPLEITK) $(OPENCV): .venv/ready-for-%: envs/%.txt $(READY)
	$(BIN)/python -m pip install --require-hashes --requirement envs/requirements.txt --requirement $<
	touch $@

# Without what its packages ask for, which the list holds already: envs/nnunet.overrides says which they may not.
$(NNUNET): envs/nnunet.txt $(READY)
	$(BIN)/python -m pip install --require-hashes --no-deps --requirement envs/nnunet.txt
	touch $@

clean:
	rm -rf results .snakemake
