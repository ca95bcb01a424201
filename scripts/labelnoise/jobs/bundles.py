"""Bundles: runs that one job of a cluster trains and tests, so that short ones do not queue alone.

A bundle is a piece of the list of all runs of one dataset, model and recipe. Its job is a Snakemake
of its own on the job's cores and card, for the runs of that piece that are not finished. So each
run keeps its files, its log and its row of a benchmark, one that fails leaves the others alone, and
a bundle that was ended goes on with those it lacks.
"""

from collections.abc import Collection, Mapping
from math import ceil
from pathlib import Path
from typing import Any

from labelnoise.jobs.eta import job_seconds
from labelnoise.jobs.resources import (
    LONGEST_GUESS_MINUTES,
    LONGEST_MINUTES,
    SAFETY,
    START_MINUTES,
    guessed_seconds,
    measured_seconds,
)
from labelnoise.jobs.script import gpus_of_job
from labelnoise.study import Run, Study

# Of a test, as part of its training, where none was measured.
GUESSED_TEST = 0.1


def cut(study: Study, unfinished: Collection[Run], minutes: float, lanes: int = 1) -> list[Path]:
    """Return the bundles that unfinished runs are cut into, by the files that say they are done.

    Args:
        study: the study.
        unfinished: the runs; the others of a piece cost nothing.
        minutes: how long a bundle shall take.
        lanes: runs that a bundle trains at once.
    """
    found = []
    for setting, runs in _settings(study).items():
        most = max(1, int(60 * minutes / seconds_of_run(study, setting))) * lanes
        places = [place for place, run in enumerate(runs) if run in unfinished]
        for start in range(0, len(places), most):
            part = places[start : start + most]
            names = dict(zip(("dataset", "model", "recipe"), setting, strict=True))
            piece = f"{part[0]}-{part[-1]}"
            found.append(study.results.fill(study.results.bundle, names | {"bundle": piece}))
    return found


def runs_of(study: Study, names: Mapping[str, str]) -> list[Run]:
    """Return the runs of a bundle.

    Args:
        study: the study.
        names: dataset, model, recipe, and bundle: the places of its first and last run, as in 0-19.
    """
    first, last = map(int, names["bundle"].split("-"))
    return _settings(study)[names["dataset"], names["model"], names["recipe"]][first : last + 1]


def minutes_to_run(study: Study, runs: Collection[Run], lanes: int = 1, attempt: int = 1) -> int:
    """Return the time limit of a bundle.

    Args:
        study: the study.
        runs: those that are unfinished, all of one dataset, model and recipe.
        lanes: runs that it trains at once.
        attempt: counted from 1; each requests more.
    """
    rounds = ceil(len(runs) / lanes)
    seconds = max((seconds_of_run(study, run.setting) for run in runs), default=0)
    minutes = START_MINUTES + SAFETY * rounds * seconds / 60
    return min(ceil(min(minutes, LONGEST_MINUTES)) * attempt, LONGEST_MINUTES)


def seconds_of_run(study: Study, setting: tuple[str, str, str]) -> float:
    """Return how long a run takes with its test, from a few finished ones; else a guess.

    Args:
        study: the study.
        setting: names of dataset, model and recipe.
    """
    model, recipe = study.models[setting[1]], study.recipes[setting[2]]
    size, epoch = study.datasets[setting[0]].get("size"), measured_seconds(study.results, setting)
    if model.trainer and epoch is None:
        training = 60.0 * LONGEST_GUESS_MINUTES / SAFETY
    else:
        training = (epoch or guessed_seconds(recipe, size)) * model.epochs(recipe)
    return training + (_test_seconds(study, setting) or GUESSED_TEST * training)


def _settings(study: Study) -> dict[tuple[str, str, str], list[Run]]:
    """Return the runs of each dataset, model and recipe, in the order of the matrix."""
    found: dict[tuple[str, str, str], list[Run]] = {}
    for run in study.runs:
        found.setdefault(run.setting, []).append(run)
    return found


def _test_seconds(study: Study, setting: tuple[str, str, str]) -> float | None:
    """Return the seconds of one test of a setting, as Snakemake measured them."""
    for run in _settings(study)[setting]:
        seconds = job_seconds(study.results.fill(study.results.benchmark("test_model"), run))
        if seconds is not None:
            return seconds
    return None


def gpu_slots(resources: Any, slots: int) -> int:
    """Return how many runs may be on a bundle's GPU at once; 0 without one.

    Args:
        resources: of the job, as the script's `snakemake` object has them.
        slots: the config's `runs_per_gpu`.
    """
    return slots if gpus_of_job(resources) else 0
