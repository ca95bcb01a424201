"""Measure how much of the machine's time a study spends in training, and where the rest goes.

    .venv/bin/python benchmarks/efficiency.py [--study studies/demo.yaml] [--repeats 1]

Runs the study as `make demo` does, in an empty folder that is removed afterwards, once for each way
of starting jobs: forked from a process that has loaded torch, and each in a Python of its own.
Prints wall seconds, CPU seconds of all processes, and how wall x cores divides: epochs, the rest of
the trainings, tests, labels, ceilings, tables and figures, and what no job used. Ends with an error
if histories or tests of the two differ. Seconds on a busy machine say little; CPU seconds do.
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

ROOT = Path(__file__).resolve().parents[1]
WAYS = {"forked": True, "apart": False}
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
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[*WAYS])
    options = parser.parse_args()
    made = []
    for way in options.ways:
        with tempfile.TemporaryDirectory() as folder:
            wall, cpu = run(options, Path(folder), WAYS[way])
            parts = divide(Path(folder), wall * options.cores)
            made.append({path: path.read_bytes() for path in numbers(Path(folder))})
            made[-1] = {path.relative_to(folder): text for path, text in made[-1].items()}
        print(f"\n{way}: {wall:.0f} s with {options.cores} cores, {cpu:.0f} CPU seconds")
        for part, seconds in parts.items():
            print(f"{part:>24} {seconds:7.0f} s {seconds / (wall * options.cores):7.2f}")
    if any(one != made[0] for one in made):
        sys.exit("error: histories or tests differ.")


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
    epochs = 0.0
    for path in folder.rglob("timing.csv"):
        with open(path, newline="") as file:
            epochs += sum(
                float(row["train"]) + float(row["validation"]) for row in csv.DictReader(file)
            )
    parts["trainings besides"] -= epochs
    order = {"epochs": epochs, "trainings besides": 0.0, "tests": 0.0} | parts
    return order | {"no job": total - sum(order.values())}


def numbers(folder):
    """Return the files that must not depend on how jobs are started."""
    return [*folder.rglob("runs/**/history.csv"), *folder.rglob("runs/**/test.csv")]


if __name__ == "__main__":
    main()
