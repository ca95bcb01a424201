"""What a training requests from a cluster: minutes and megabytes of main memory.

These are estimates and affect no result. Too little costs little: the job is submitted again with
more, and the training goes on from its last whole epoch. Too much keeps it waiting in the queue.
"""

import csv
from collections.abc import Mapping
from itertools import islice
from math import ceil
from pathlib import Path

from labelnoise.config.channels import channel_names
from labelnoise.study import Model, Recipe, Results, Study

# Besides the epochs: imports, reading the dataset, writing the outputs, on a slow file system.
START_MINUTES = 10
# Another card or a busy node may be this much slower than the measured ones.
SAFETY = 2
LONGEST_MINUTES = 24 * 60
# For a forward and backward pass where no run was measured. A GPU needs less.
GUESSED_SECONDS_PER_MEGAPIXEL = 2
LONGEST_GUESS_MINUTES = 8 * 60
# Per setting, so that thousands of finished runs cost no time.
RUNS_TO_READ = 5

# What a trainer may take, of which nothing is known.
TRAINER_MB = 16000
# torch, CUDA and a process that loads slices, before any data.
BASE_MB = 3000
# `training.batches.Slices` holds in memory what fits: of each pixel two bytes per channel, a label.
HELD_SLICES, BYTES_PER_CHANNEL, BYTES_PER_LABEL, LARGEST_HELD_MB = 4000, 2, 1, 3200
# Channels of a dataset whose number only its data know.
GUESSED_CHANNELS = 4
# Activations and their gradients per pixel of a batch, as measured per channel of the first level
# of the project's networks, and for smp.Unet with a resnet18 (2100), with room for more.
BYTES_PER_PIXEL_AND_CHANNEL, BYTES_PER_PIXEL_SMP = 200, 4000
# Pixels along a side, for a dataset that keeps the size of its source.
USUAL_SIZE = 512

_measured: dict[Path, float] = {}


def minutes_to_train(study: Study, names: Mapping[str, str], attempt: int = 1) -> int:
    """Return the time limit of a training.

    Args:
        study: the study.
        names: dataset, model and recipe of the run.
        attempt: counted from 1; each requests more.
    """
    setting = (names["dataset"], names["model"], names["recipe"])
    size = study.datasets[setting[0]].get("size")
    measured = measured_seconds(study.results, setting)
    model, recipe = study.models[setting[1]], study.recipes[setting[2]]
    if model.trainer:
        return trainer_minutes(measured, model.epochs(recipe), attempt)
    return training_minutes(measured, recipe, size, attempt)


def megabytes_to_train(study: Study, names: Mapping[str, str], attempt: int = 1) -> int:
    """Return the main memory of a training in MB; for the arguments see `minutes_to_train`."""
    model, recipe = study.models[names["model"]], study.recipes[names["recipe"]]
    if model.trainer:
        return TRAINER_MB * attempt
    dataset = study.datasets[names["dataset"]]
    known = channel_names(dataset)
    channels = GUESSED_CHANNELS if known is None else len(known)
    return training_megabytes(model, recipe, dataset.get("size"), channels, attempt)


def training_minutes(
    seconds_per_epoch: float | None, recipe: Recipe, size: int | None, attempt: int = 1
) -> int:
    """Return the minutes to request for a training.

    Args:
        seconds_per_epoch: see `measured_seconds`; None where nothing was measured.
        recipe: the recipe.
        size: pixels along a side of a slice; None where the dataset does not say.
        attempt: counted from 1; each requests more.
    """
    longest = LONGEST_MINUTES
    if seconds_per_epoch is None:
        seconds_per_epoch = guessed_seconds(recipe, size)
        longest = LONGEST_GUESS_MINUTES
    # Labels are mended by as many trainings before.
    trainings = 1 + (recipe.relabelling["folds"] if recipe.relabelling else 0)
    return _requested(trainings * recipe.epochs * seconds_per_epoch, longest, attempt)


def trainer_minutes(seconds_per_epoch: float | None, epochs: int, attempt: int = 1) -> int:
    """Return the minutes to request for a trainer, of which nothing is known but what it took.

    Args:
        seconds_per_epoch, attempt: see `training_minutes`.
        epochs: see `Model.epochs`.
    """
    if seconds_per_epoch is None:
        return min(LONGEST_GUESS_MINUTES * attempt, LONGEST_MINUTES)
    return _requested(epochs * seconds_per_epoch, LONGEST_MINUTES, attempt)


def _requested(seconds: float, longest: float, attempt: int) -> int:
    minutes = START_MINUTES + SAFETY * seconds / 60
    return min(ceil(min(minutes, longest)) * attempt, LONGEST_MINUTES)


def guessed_seconds(recipe: Recipe, size: int | None) -> float:
    """Return how long an epoch of a recipe may take where none was measured.

    Args:
        recipe, size: see `training_minutes`.
    """
    pixels = recipe.steps_per_epoch * recipe.batch_size * (size or USUAL_SIZE) ** 2
    return pixels / 1e6 * GUESSED_SECONDS_PER_MEGAPIXEL


def training_megabytes(
    model: Model, recipe: Recipe, size: int | None, channels: int = 1, attempt: int = 1
) -> int:
    """Return the main memory to request for a training, in MB.

    It covers a training on the CPU, where the activations of a batch are in main memory.

    Args:
        model, recipe: their definitions.
        channels: of a slice.
        size, attempt: see `training_minutes`.
    """
    pixels = (size or USUAL_SIZE) ** 2
    bytes_held = BYTES_PER_CHANNEL * channels + BYTES_PER_LABEL
    held = min(HELD_SLICES * pixels * bytes_held / 1e6, LARGEST_HELD_MB)
    return ceil(BASE_MB + held + activation_megabytes(model, recipe, pixels)) * attempt


def activation_megabytes(model: Model, recipe: Recipe, pixels: int) -> float:
    """Return the memory of a batch's activations and their gradients, in MB.

    Args:
        model, recipe: their definitions.
        pixels: of a slice.
    """
    if "width" not in model.settings:  # a library's network, or one of the user's own
        bytes_per_pixel = BYTES_PER_PIXEL_SMP
    else:
        bytes_per_pixel = BYTES_PER_PIXEL_AND_CHANNEL * model.settings["width"]
    return recipe.batch_size / recipe.accumulation * pixels * bytes_per_pixel / 1e6


def measured_seconds(results: Results, setting: tuple[str, str, str]) -> float | None:
    """Read from finished runs how many seconds one epoch takes.

    Args:
        results: the study's results tree.
        setting: names of dataset, model and recipe.

    Returns:
        Mean seconds of training and validation per epoch, of the slowest of a few runs; None where
        no run is finished.
    """
    dataset, model, recipe = setting
    names = {"dataset": dataset, "model": model, "recipe": recipe}
    pattern = str(results.run.timing).format(**names, perturbation="*", repeat="*")
    key = Path(pattern)
    # "None" is not kept: the first run of a study may finish meanwhile.
    if key not in _measured:
        found = islice(results.root.glob(str(key.relative_to(results.root))), RUNS_TO_READ)
        seconds = max(filter(None, map(_mean_seconds, found)), default=None)
        if seconds is None:
            return None
        _measured[key] = seconds
    return _measured[key]


def _mean_seconds(path: Path) -> float | None:
    """Return the mean seconds per epoch of one run; None where the file is gone or malformed."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            epochs = [
                float(row["train"]) + float(row["validation"]) for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, TypeError, ValueError):
        return None
    return sum(epochs) / len(epochs) if epochs else None
