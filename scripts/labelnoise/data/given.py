"""Given labels: the user's own wrong labels of a dataset's slices, prepared as the reference was.

Training and validation cases need them, of folds all cases, as each is a training case of some.
Test cases may lack them: they are then left out of what is measured against wrong test labels, the
apparent Dice and the ceiling.

Shape legend: S slices of a case, H height, W width in pixels.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from labelnoise.data.prepare import map_in_order
from labelnoise.data.resize import fit_grid, resize_labels
from labelnoise.data.sources import open_source
from labelnoise.data.storage import Dataset, write_labels
from labelnoise.errors import InputError
from labelnoise.folds import base_of, fold_of
from labelnoise.manifest import File, Source, check_unchanged, read_source

log = logging.getLogger(__name__)


def prepare_given(
    dataset: Path,
    perturbation: str,
    settings: Mapping[str, Any],
    path: Path,
    workers: int = 1,
    known: Mapping[str, File] = MappingProxyType({}),
) -> Source:
    """Write the given labels of a dataset's slices as a label file of one draw.

    They are read by the dataset's source, each beside its image, and come onto the grid of the
    stored slices as the reference did. Which slices there are is the reference's choice.

    Args:
        dataset: the dataset file; of folds the first one's.
        perturbation: whose labels they are.
        settings: see `labelnoise.config.given.given_settings`.
        path: the file, which holds the rows of the dataset that have labels.
        workers: threads that read cases.
        known: files whose digest is known, see `read_source`.

    Returns:
        The files of their folder.

    Raises:
        InputError: a training or validation case, or a slice of one, has no labels, or labels
            cannot be read, are of another size or grid, or hold unknown values.
    """
    with Dataset(dataset) as data:
        folds = fold_of(data.name) is not None
        where = f"dataset {base_of(data.name)}, perturbation {perturbation}"
        folder = settings["given"]["labels_folder"]
        if not Path(folder).is_dir():
            raise InputError(
                f"{where}: there is no folder {folder}; put or link the labels there, or name "
                f"another folder in the config: perturbations.{perturbation}.folder."
            )
        settings = _in_order(where, settings, data.class_names[1:])
        files = read_source(settings, known, workers) or Source({})
        cases = {case.name: case for case in open_source(settings["source"]).cases(settings, 0)}
        names = data.source_cases()
        wanted = [case for case in names if names[case] in cases]
        _check_cases(where, folder, data, names, wanted, folds)
        has_N = np.zeros(len(data), bool)
        for case in wanted:
            own_N, numbers = data.case == case, cases[names[case]].numbers
            has_N[own_N] = True if numbers is None else np.isin(data.slice[own_N], numbers)
        _check_slices(where, folder, data, names, has_N, folds)

        def prepare(case: str) -> np.ndarray:
            numbers_S = data.slice[has_N & (data.case == case)]
            about = f"{where}, case {names[case]}"
            return _prepare_case(about, cases[names[case]], settings, numbers_S, data.shape)

        with write_labels(
            path,
            rows=np.flatnonzero(has_N),
            shape=data.shape,
            classes=len(data.class_names),
            draws=1,
            dataset=base_of(data.name),
            perturbation=perturbation,
            kind="given",
            seed=0,
            severities={},
            foreground_fractions={},
        ) as writer:
            start, prepared = 0, map_in_order(prepare, wanted, workers)
            for done, case in enumerate(wanted, start=1):
                labels_SHW = next(prepared)
                writer.write(0, start, labels_SHW)
                start += len(labels_SHW)
                log.info("%s: case %s, %d of %d", where, case, done, len(wanted))
            check_unchanged(where, settings, files)
    return files


def _in_order(where, settings, names):
    """Return settings whose label values are in the order of the dataset's structures."""
    values = settings["given"].get("classes")
    if values is None:
        return settings
    if set(values) != set(names):
        raise InputError(
            f"{where}: `classes` names {', '.join(values)}, but the dataset has "
            f"{', '.join(names)}; give the values of exactly these."
        )
    ordered = {name: values[name] for name in names}
    return {**settings, "given": {**settings["given"], "classes": ordered}}


def _check_cases(where, folder, data, names, wanted, folds):
    """Refuse cases without labels that need them; say in the log which others there are."""
    needing = [case for case in names if folds or data.split[data.case == case][0] != "test"]
    missing = [names[case] for case in needing if case not in wanted]
    if missing:
        raise InputError(
            f"{where}: {len(missing)} of {len(needing)} {_kinds(folds)} have no labels in {folder} "
            f"({', '.join(missing)}), expected one file each, named as the reference's; add them, "
            "say how they are named (`mask_name` or `labels` of the perturbation), or leave the "
            "cases out by the dataset's `split`."
        )
    # Logs name no patient.
    if lacking := len(names) - len(wanted):
        log.warning(
            "%s: %d test cases have no labels in %s: what is measured against wrong test labels "
            "is of the other %d",
            where,
            lacking,
            folder,
            len(names) - len(needing) - lacking,
        )


def _kinds(folds):
    return "cases" if folds else "training and validation cases"


def _prepare_case(where, case, settings, numbers_S, shape):
    """Return the labels of some slices of a case as they are stored, (S, H, W)."""
    _, labels_SHW, found_S, *more = case.read()
    source_3 = more[0] if more else None
    grid = fit_grid(labels_SHW.shape[1:], source_3, settings["size"], settings.get("spacing"))
    if grid.shape != shape:
        raise InputError(
            f"{where}: the labels come to {' x '.join(map(str, grid.shape))} pixels, but stored "
            f"slices are {' x '.join(map(str, shape))}; give labels of the reference's grid."
        )
    places = {int(number): place for place, number in enumerate(found_S)}
    chosen_SHW = labels_SHW[[places[int(number)] for number in numbers_S]]
    if grid.resamples:
        chosen_SHW = resize_labels(chosen_SHW, grid, settings["resize_labels"])
    return chosen_SHW


def _check_slices(where, folder, data, names, has_N, folds):
    """Refuse slices without labels of cases that need them."""
    needed_N = np.full(len(data), folds) | (data.split != "test")
    missing = np.flatnonzero(needed_N & ~has_N)
    if len(missing):
        listed = ", ".join(f"{names[data.case[row]]} slice {data.slice[row]}" for row in missing)
        raise InputError(
            f"{where}: {len(missing)} slices of {_kinds(folds)} have no labels in {folder} "
            f"({listed}), expected a mask for each slice of the reference; add them."
        )
