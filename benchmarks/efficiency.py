"""Measure how much of the machine's time a study spends in training, and where the rest goes.

    .venv/bin/python benchmarks/efficiency.py [--study studies/demo.yaml] [--repeats 1]

Runs the study as `make demo` does, in an empty folder that is removed afterwards, twice: before,
each job in a Python of its own, and after, forked from a process that has loaded torch. Prints wall
seconds, CPU seconds of all processes, how wall x cores divides (`fit`: epochs, and the state that
each leaves; the rest of the trainings, tests, labels, ceilings, tables and figures, and what no job
used), and the share of `fit`. Ends with an error if histories or tests of the two differ. On a busy
machine only the CPU seconds tell.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from time import monotonic

import yaml

from rows import ROOT, Rows, add_output

SHARE = "fit / (wall x cores)"
# Rules by what they are shown as; all others make tables and figures.
PARTS = {
    "test_model": "tests",
    "prepare_dataset": "data and labels",
    "calibrate_perturbation": "data and labels",
    "perturb_labels": "data and labels",
    "estimate_ceiling": "ceilings",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", default=ROOT / "studies/demo.yaml", type=Path)
    parser.add_argument("--repeats", type=int, help="instead of the study's own")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--forked-only", action="store_true", help="leave out the other way")
    add_output(parser)
    options = parser.parse_args()
    measured = []
    for forks in (True,) if options.forked_only else (False, True):
        with tempfile.TemporaryDirectory() as folder:
            measured.append(measure(options, Path(folder), forks))
    *before, (after, made) = measured
    rows = Rows()
    for name in after:
        unit = "share" if name == SHARE else "s"
        rows.add(name, before=before[0][0][name] if before else None, after=after[name], unit=unit)
    if any(files != made for _, files in before):
        sys.exit("error: histories or tests differ.")
    rows.write(options.output)


def measure(options, folder, forks):
    """Run the study in a folder; return {what: seconds}, and files that must not depend on how."""
    wall, cpu = run(options, folder, forks)
    total = wall * options.cores
    parts = divide(folder, total)
    found = {"wall": wall, "CPU of all processes": cpu}
    found |= {f"{name}, of wall x cores": seconds for name, seconds in parts.items()}
    found[SHARE] = (parts["fit: epochs"] + parts["fit: states"]) / total
    paths = [path for name in ("history", "test") for path in folder.rglob(f"runs/**/{name}.csv")]
    return found, {path.relative_to(folder): path.read_bytes() for path in paths}


def run(options, folder, forks):
    """Run the study in a folder; return seconds, and CPU seconds of all its processes."""
    overlay = folder / "overlay.yaml"
    matrix = {"matrix": {"repeats": options.repeats}} if options.repeats else {}
    overlay.write_text(yaml.safe_dump({"fork_jobs": forks} | matrix))
    configs = [ROOT / "config.yaml", options.study.resolve(), overlay]
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"),
        *("--workflow-profile", ROOT / "profiles/cpu", "--configfile", *configs),
        *("--cores", str(options.cores), "--quiet", "all"),
    ]
    start, before = monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return monotonic() - start, cpu


def divide(folder, total):
    """Return {part: seconds}, which sum up to the total."""
    parts = defaultdict(float)
    jobs = {}
    for path in folder.glob(".snakemake/metadata/*"):
        job = json.loads(path.read_text())
        jobs[job["rule"], *job["log"]] = job["endtime"] - job["starttime"]
    for (rule, *_), seconds in jobs.items():
        name = "trainings besides" if rule == "train_model" else PARTS.get(rule, "tables, figures")
        parts[name] += seconds
    fit = {"fit: epochs": 0.0, "fit: states": 0.0}
    for path in folder.rglob("timing.csv"):
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                fit["fit: epochs"] += float(row["train"]) + float(row["validation"])
                fit["fit: states"] += float(row["state"])
    parts["trainings besides"] -= sum(fit.values())
    order = fit | {"trainings besides": 0.0, "tests": 0.0} | parts
    return order | {"no job": total - sum(order.values())}


if __name__ == "__main__":
    main()
