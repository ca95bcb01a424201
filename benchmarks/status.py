"""Measure what `make status` takes once a large study is finished: seconds of the whole command.

    python benchmarks/status.py --output docs/speed/status.csv

Trains and tests a control of the simulated abdomen for an epoch, in a folder that is removed
afterwards, and copies the run as the other repeats of a study of `--runs`. Ends with an error if
the status of 3000 runs does not find them all finished, or takes more than 5 CPU seconds.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from rows import ROOT, Rows, add_output

sys.path.insert(0, str(ROOT / "scripts"))

from labelnoise.files import read_json, write_json
from labelnoise.seeds import training_seed
from labelnoise.study import Results, Run, read_study

FIRST = Run("phantom", "unet", "plain", "control", 0)
LIMIT = {"runs": 3000, "cpu": 5.0}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=LIMIT["runs"])
    add_output(parser)
    options = parser.parse_args()
    rows = Rows()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train(folder)
        copy_run(folder, options.runs)
        seconds, page = status(folder)
    if f"{options.runs} finished" not in page:
        sys.exit(f"error: not all of the {options.runs} runs are finished:\n{page}")
    rows.add(f"{options.runs} runs, status", after=seconds, unit="CPU s")
    rows.write(options.output)
    if options.runs <= LIMIT["runs"] and seconds > LIMIT["cpu"]:
        sys.exit(f"error: {options.runs} runs take more than {LIMIT['cpu']:g} CPU s.")


def write_study(folder, repeats):
    """Write an overlay of config.yaml: a control of few steps, with these repeats."""
    matrix = {key: [getattr(FIRST, key)] for key in ("dataset", "model", "recipe", "perturbation")}
    recipe = {"plain": {"epochs": 1, "steps_per_epoch": 1, "keep": 1}}
    matrix |= {"repeats": repeats, "claims": []}
    (folder / "study.yaml").write_text(yaml.safe_dump({"recipes": recipe, "matrix": matrix}))


def train(folder):
    """Train and test the first repeat."""
    write_study(folder, 1)
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"),
        *(Results(Path("results")).run_folder(FIRST).counts, "--directory", folder),
        *("--cores", "1", "--workflow-profile", ROOT / "profiles/cpu", "--quiet", "all"),
        *("--configfile", ROOT / "config.yaml", folder / "study.yaml"),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def copy_run(folder, repeats):
    """Make the first repeat's folder and labels those of all others, in a study of so many."""
    write_study(folder, repeats)
    seed = read_study(ROOT / "config.yaml", folder / "study.yaml").seed
    results = Results(folder / "results")
    first = results.run_folder(FIRST)
    for repeat in range(1, repeats):
        run = Run(FIRST.dataset, FIRST.model, FIRST.recipe, FIRST.perturbation, repeat)
        for pattern in (results.labels, results.measured):
            shutil.copy2(results.fill(pattern, FIRST), results.fill(pattern, run))
        own = results.run_folder(run)
        # All but the record lie where they are as links, since their content is not looked at.
        shutil.copytree(first.path, own.path, copy_function=os.link)
        record = read_json(first.record) | {"repeat": repeat}
        record["training_seed"] = training_seed(seed, run.model, repeat)
        times = first.record.stat()
        own.record.unlink()
        write_json(own.record, record)
        os.utime(own.record, ns=(times.st_atime_ns, times.st_mtime_ns))


def status(folder):
    """Return CPU seconds of the command, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, ROOT / "scripts/status.py", "--configfile", "study.yaml"]
    shutil.copy(ROOT / "config.yaml", folder)
    page = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT / "scripts")},
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, page


if __name__ == "__main__":
    main()
