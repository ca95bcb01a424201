"""Measure what a job takes before it does anything: CPU seconds of Python and of what it imports.

    python benchmarks/imports.py --output docs/speed/imports.csv

"Before" is with torch, which every script imported once. Best of `--turns`, in processes of
their own, in turns.
"""

import argparse
import os
import resource
import subprocess
import sys

from rows import ROOT, Rows, add_output

# What scripts import, by what it is for.
MODULES = {
    "training": "labelnoise.training.run",
    "test": "labelnoise.evaluation.score",
    "labels": "labelnoise.labels.label_sets",
    "tables": "labelnoise.evaluation.tables",
    "figures": "labelnoise.report.render",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    add_output(parser)
    options = parser.parse_args()
    rows = Rows()
    rows.add("torch alone", after=min(map(seconds, ["import torch"] * options.turns)), unit="CPU s")
    for name, module in MODULES.items():
        programs = f"import torch, {module}", f"import {module}"
        before, after = (
            min(times)
            for times in zip(
                *[[seconds(program) for program in programs] for _ in range(options.turns)],
                strict=True,
            )
        )
        rows.add(f"for {name}", before=before, after=after, unit="CPU s")
    rows.write(options.output)


def seconds(program):
    """Return user and system seconds of a Python that runs a program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
