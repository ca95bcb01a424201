"""Folds of a cross-validation: what the files of each fold are called.

A dataset with folds is one dataset in the config, in claims, tables and figures, and several in the
results tree: a fold has a dataset file, labels and runs of its own, under the dataset's name with
the fold behind it, such as kidney@fold0. This module alone knows these names, which no dataset of
the config can have.
"""

from collections.abc import Mapping
from typing import Any

MARK = "@fold"
# Settings of one dataset, checked and completed by `labelnoise.config`.
Settings = Mapping[str, Any]


def fold_count(settings: Settings) -> int:
    """Return how many folds of a dataset the study runs: 1 without folds, or for one alone."""
    split = settings.get("split", {})
    return split["folds"] if split.get("folds") and split["fold"] is None else 1


def fold_names(name: str, settings: Settings) -> list[str]:
    """Return the names of the folds of a dataset, or its own name if it has none."""
    count = fold_count(settings)
    return [f"{name}{MARK}{fold}" for fold in range(count)] if count > 1 else [name]


def with_folds(datasets: Mapping[str, Settings]) -> dict[str, Settings]:
    """Return settings by name of all datasets, and behind them those of each fold."""
    found = dict(datasets)
    for name, settings in datasets.items():
        if fold_count(settings) > 1:
            for fold, each in enumerate(fold_names(name, settings)):
                found[each] = {**settings, "split": {**settings["split"], "fold": fold}}
    return found


def base_of(name: str) -> str:
    """Return the dataset of a fold; the name itself if it is that of a dataset."""
    return name.partition(MARK)[0]


def fold_of(name: str) -> int | None:
    """Return which fold a name is of, from 0; None if it is that of a dataset."""
    fold = name.partition(MARK)[2]
    return int(fold) if fold else None
