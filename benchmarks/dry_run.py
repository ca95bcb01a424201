"""Measure what Snakemake's planning costs as a study grows: seconds and peak memory.

    .venv/bin/python benchmarks/dry_run.py [--runs 300 3000 12000] [--finished 300 3000]

Each study is the paper's matrix (2 datasets x 3 networks x 1 recipe x 10 perturbations) with as
many repeats as make that many trainings; `--perturbations 100` makes it wider instead. Measured in
processes of their own, in a folder that is empty at first:

    parse     `snakemake --list-rules`, which every job on a cluster repeats
    one run   `snakemake --dry-run` of one training, as the Snakemake inside a cluster job plans it
    all       `snakemake --dry-run` of everything
    half      the same with every second repeat trained and tested (`--finished`)
    finished  the same with every file there (`--finished`)

Peak memory is that of the largest process. `growth` is the power of the number of runs by which CPU
seconds grew from the size before: 1 is proportional. Wall seconds depend on what else the machine
does, CPU seconds hardly. Ends with an error if 3000 runs need more than 15 CPU seconds
(planning is one thread: on an idle core these are its wall seconds) or 2 GB.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from math import log
from pathlib import Path
from time import perf_counter

import yaml

from rows import ROOT, Rows, add_output

KINDS = ("natural", "choppy", "random")
# What planning may cost: CPU seconds and GB at 3000 runs.
LIMIT = {"runs": 3000, "cpu": 15, "peak": 2}


def main():
    options = parse()
    before, late, rows = {}, [], Rows()
    for runs in sorted({*options.runs, *options.finished}):
        for what, found in measure(runs, options):
            smaller, seconds = before.get(what, (None, None))
            growth = log(found["cpu"] / seconds) / log(runs / smaller) if smaller else None
            before[what] = (runs, found["cpu"])
            rows.add(f"{runs} runs, {what}: wall", after=found["wall"], unit="s")
            rows.add(f"{runs} runs, {what}: CPU", after=found["cpu"], unit="s")
            rows.add(f"{runs} runs, {what}: peak memory", after=found["peak"], unit="GB")
            if growth is not None:
                rows.add(f"{runs} runs, {what}: growth", after=growth, unit="power of runs")
            if runs <= LIMIT["runs"] and any(found[key] > LIMIT[key] for key in ("cpu", "peak")):
                late.append(f"{what} of {runs} runs")
    rows.write(options.output)
    if late:
        sys.exit(f"error: {', '.join(late)}: over {LIMIT['cpu']} CPU s or {LIMIT['peak']} GB.")


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, nargs="+", default=[300, 3000, 12000], help="trainings")
    parser.add_argument(
        "--finished", type=int, nargs="*", default=[], help="of these sizes, half and whole results"
    )
    parser.add_argument("--perturbations", type=int, default=10, help="names in the matrix (10)")
    add_output(parser)
    options = parser.parse_args()
    cells = 2 * 3 * options.perturbations
    for runs in (*options.runs, *options.finished):
        if runs < cells or runs % cells:
            parser.error(f"{runs} is not a multiple of {cells} = 2 x 3 x {options.perturbations}")
    return options


def measure(runs, options):
    """Yield what was done, and its wall and CPU seconds and peak GB, for one size of study."""
    repeats = runs // (6 * options.perturbations)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "study.yaml").write_text(yaml.safe_dump(study(repeats, options.perturbations)))
        if runs in options.runs:
            yield "parse", snakemake(folder, "--list-rules")
            one = "results/runs/phantom/unet/labels18/control/rep0/run.json"
            yield "one run", dry_run(folder, 1, one)
            yield "all", dry_run(folder, runs)
        if runs in options.finished:
            finish(folder)
            done = dry_run(folder, 0)
            # While tables and figures exist, Snakemake misses nothing that they are made from.
            for pattern in ("tables", "figures", "runs/*/*/*/*/rep*[13579]"):
                for path in folder.glob(f"results/{pattern}"):
                    shutil.rmtree(path)
            yield "half", dry_run(folder, runs * (repeats // 2) // repeats)
            yield "finished", done


def study(repeats, perturbations):
    """Return an overlay of config.yaml: the paper's matrix with these repeats and perturbations."""
    if perturbations == 10:
        return {"matrix": {"recipe": ["labels18"], "repeats": repeats}}
    names = {
        f"{KINDS[i % 3]}-wide{i}": {
            "kind": KINDS[i % 3],
            "target_dice": 0.99 - 0.4 * i / perturbations,
        }
        for i in range(perturbations - 1)
    }
    matrix = {"recipe": ["labels18"], "perturbation": ["control", *names], "repeats": repeats}
    return {"perturbations": names, "matrix": matrix}


def dry_run(folder, runs, *targets):
    """Measure a dry-run, and check that it plans this many trainings."""
    found = snakemake(folder, "--dry-run", *targets)
    listed = re.findall(r"^train_model +(\d+)$", (folder / "output.txt").read_text(), re.MULTILINE)
    planned = int(listed[0]) if listed else 0
    if planned != runs:
        sys.exit(f"error: the dry-run plans {planned} trainings where {runs} were expected.")
    return found


def finish(folder):
    """Make every file of a study, empty, with Snakemake's record of it."""
    snakemake(folder, "--summary")
    # Its first lines may be messages.
    for line in (folder / "output.txt").read_text().splitlines():
        name = line.partition("\t")[0]
        if name.startswith("results/"):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if path.name == "checkpoints" else path.touch()
    # --touch sleeps 0.1 s per job, a quarter of an hour for 3000 runs.
    quick = "import snakemake.executors.touch as t; t.Executor.SLEEPING_TIME = 0; "
    program = ["-c", f"{quick}from snakemake.cli import main; main()"]
    snakemake(folder, "--touch", "--forceall", "--quiet", "all", program=program)


def snakemake(folder, *arguments, program=("-m", "snakemake")):
    """Run Snakemake in a folder; return its wall and CPU seconds and its peak memory in GB."""
    command = [
        *(sys.executable, *program, *arguments, "--snakefile", ROOT / "Snakefile"),
        *("--directory", folder, "--cores", "2"),
        *("--workflow-profile", ROOT / "profiles" / "default"),
        *("--configfile", ROOT / "config.yaml", folder / "study.yaml"),
    ]
    start = perf_counter()
    with open(folder / "output.txt", "w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)
        # Peak memory of the largest of the process and its children, which `process.wait` lacks.
        _, status, usage = os.wait4(process.pid, 0)
    wall = perf_counter() - start
    if status != 0:
        sys.exit((folder / "output.txt").read_text()[-2000:])
    # Kilobytes on Linux, bytes on macOS.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": peak}


if __name__ == "__main__":
    main()
