"""Runs Snakemake on studies that are small enough for a test."""

import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import yaml

from labelnoise.jobs.study_status import look_at
from labelnoise.study import read_study

ROOT = Path(__file__).parents[1]
TINY = {
    "datasets": {"tiny": {"source": "phantom", "cases": 6, "slices": 2, "size": 32}},
    "models": {"small": {"network": "unet", "width": 2, "depth": 2}},
    "recipes": {
        "short": {
            "loss": "class_sampled_cross_entropy",
            "learning_rate": 0.01,
            "batch_size": 4,
            # So many that an interruption can meet a training between two of them.
            "steps_per_epoch": 2,
            "epochs": 48,
            "keep": 2,
        }
    },
    "matrix": {
        "dataset": ["tiny"],
        "model": ["small"],
        "recipe": ["short"],
        "perturbation": ["control", "choppy-0.85"],
        "repeats": 2,
    },
}
# What a run leaves that does not depend on how and beside what it was made.
RUN_FILES = ("history.csv", "test.csv", "surfaces.csv", "scores.h5")


def run_contents(run):
    """Return {name: bytes} of RUN_FILES in a run's folder."""
    return {name: (run / name).read_bytes() for name in RUN_FILES}


def snakemake(folder, study, *arguments, limit=None):
    """Run Snakemake in a folder, on the config under a study; return the finished process.

    Args:
        folder: where results/ goes.
        study: the overlay, a mapping.
        arguments: targets and options.
        limit: a function to call in the process before it starts.
    """
    return subprocess.run(
        command(folder, study, *arguments),
        capture_output=True,
        text=True,
        cwd=folder,
        preexec_fn=limit,
        check=False,
    )


def command(folder, study, *arguments, cores=2):
    """Write the study beside its results and return the command that runs it; see `snakemake`."""
    overlay = folder / "study.yaml"
    overlay.write_text(yaml.safe_dump(study, sort_keys=False))
    return [
        *(sys.executable, "-m", "snakemake", *arguments),
        *("--snakefile", ROOT / "Snakefile", "--directory", folder),
        *("--cores", str(cores), "--workflow-profile", ROOT / "profiles" / "cpu"),
        *("--configfile", ROOT / "config.yaml", overlay),
    ]


def status_of(folder, study):
    """Return what `make status` looks at in a folder, of the config under a study."""
    overlay = folder / "asked.yaml"
    overlay.write_text(yaml.safe_dump(study))
    with chdir(folder):
        return look_at(read_study(ROOT / "config.yaml", overlay))


def changed(**sections):
    """Return TINY with other values in some sections."""
    return TINY | {name: TINY.get(name, {}) | values for name, values in sections.items()}


def job_counts(dry_run):
    """Return the number of jobs per rule, off a dry-run's output."""
    lines = dry_run.stdout.splitlines()
    if not any(line.startswith("Job stats:") for line in lines):
        return {}
    start = next(index for index, line in enumerate(lines) if line.startswith("Job stats:"))
    counts = {}
    for line in lines[start + 3 :]:
        if not line.strip():
            break
        rule, count = line.split()
        counts[rule] = int(count)
    return counts
