"""From source data to a dataset file: split, validate, scale, resize, write; one case at a time.

Shape legend: S slices of a case, H height, W width in pixels.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from labelnoise.data.case_names import shown_names
from labelnoise.data.changes import CaseChanges, Changes, Clipped
from labelnoise.data.intensity import LARGEST, SAMPLES, Intensity, Scale, sample
from labelnoise.data.resize import fit_grid, resize_images, resize_labels
from labelnoise.data.sources import Case, Settings, check_folder, open_source
from labelnoise.data.splits import assign_folds, assign_splits
from labelnoise.data.storage import write_dataset
from labelnoise.errors import InputError
from labelnoise.folds import base_of, fold_of
from labelnoise.manifest import File, Source, check_unchanged, read_source
from labelnoise.seeds import intensity_seed, source_seed

logger = logging.getLogger(__name__)
# Slices converted at a time; besides them a case is in memory once as read and once as stored.
BATCH = 16


def prepare_dataset(
    name: str,
    settings: Settings,
    seed: int,
    path: str | Path,
    workers: int = 1,
    known: Mapping[str, File] = MappingProxyType({}),
) -> Source | None:
    """Write the dataset file of one entry of `datasets` in the config.

    Cases are read by `workers` threads and written in their order, so the file does not depend on
    `workers`. One worker holds one case in memory at a time, n > 1 workers hold n + 1.

    Args:
        name: the dataset's name in the config; with folds, that of the first one, whose file holds
            the slices of all, see `storage.write_fold`.
        settings: its settings, checked and completed by `labelnoise.config`.
        seed: the study's seed.
        path: the HDF5 file to write; it appears whole or not at all.
        known: files of the source whose digest is known, see `read_source`.

    Returns:
        The files of the source; None where it has none.

    Raises:
        InputError: the source data cannot make a dataset, or change while they are read.
    """
    check_folder(name, settings)
    files = read_source(settings, known, workers)
    source = open_source(settings["source"])
    names = source.class_names(settings)
    cases = source.cases(settings, source_seed(seed, base_of(name)))
    shown = shown_names(_unique_names(name, cases), settings)
    splits, folds = _splits(name, cases, settings, seed)
    if unlisted := len(cases) - len(splits):
        logger.warning(
            "%s: the split lists %d cases and leaves out %d", name, len(splits), unlisted
        )
    cases = [case for case in cases if case.name in splits]
    grid = {key: settings.get(key) for key in ("plane", "spacing", "size", "resize_labels")}
    provenance = source.describe(settings) | {"source": settings["source"], "grid": grid}
    if files is not None:
        provenance["content"] = files.describe()

    changes = Changes(name, names)
    intensity = Intensity.of_settings(settings)
    if intensity.scale is None and intensity.by == "dataset":
        # Folds share their slices, and each case is a training case of some of them.
        training = [case for case in cases if folds or splits[case.name] == "train"]
        intensity = fit_intensity(name, intensity, training, seed, workers)

    def prepare(case):
        return prepare_case(name, case, settings, len(names), intensity)

    with write_dataset(
        path,
        name=name,
        class_names=names,
        intensity=intensity,
        provenance=provenance,
        workers=workers,
        folds=[{shown[case]: fold[case] for case in fold} for fold in folds],
    ) as writer:
        left_out = []
        prepared = map_in_order(prepare, cases, workers)
        for done, case in enumerate(cases, start=1):
            # Not by `zip`, which would keep a case's slices until the next one's are ready.
            known_as = shown[case.name]
            if not _append(writer, changes, case, known_as, splits[case.name], next(prepared)):
                left_out.append(known_as)
            logger.info("%s: case %s, %d of %d", name, known_as, done, len(cases))
        if files is not None:
            check_unchanged(name, settings, files)
        provenance |= changes.report()
    if left_out:
        logger.warning(
            "%s: %d of %d cases are left out, as none of their slices shows a structure: %s",
            name,
            len(left_out),
            len(cases),
            ", ".join(left_out),
        )
    return files


def _unique_names(name, cases):
    """Return the names of cases; refuse two of one name."""
    names = [case.name for case in cases]
    twice = sorted({case for case in names if names.count(case) > 1})
    if twice:
        raise InputError(
            f"dataset {name}: case {twice[0]!r} comes {names.count(twice[0])} times; give every "
            "case its own name."
        )
    return names


def _splits(name, cases, settings, seed):
    """Return {case: split}, the source's own where it fixes one, and those of all folds, if any."""
    fixed = {case.name: case.split for case in cases if case.split}
    if fixed:
        return fixed, []
    names = [case.name for case in cases]
    if fold_of(name) is None:
        return assign_splits(name, names, settings["split"], seed), []
    folds = assign_folds(name, names, settings["split"], seed)
    return folds[0], list(folds.values())


def _append(writer, changes, case, known_as, split, made):
    """Write the slices of a case; return False if it has none."""
    changes.add(known_as, made.spacing_3, made.changes, made.clipped, made.scale)
    if len(made.numbers_S):
        slices = (made.numbers_S, made.images_SHW, made.labels_SHW)
        about = (made.spacing_3, made.scale, case.name)
        writer.append(known_as, split, *slices, *about)
        return True
    logger.warning("case %s shows no structure in any slice and is left out", known_as)
    return False


def map_in_order(function: Callable, items: Iterable, workers: int) -> Iterator[Any]:
    """Map like `map`, in threads, with at most `workers` results ahead of the one in use."""
    if workers == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        pending = deque()
        try:
            for item in items:
                if len(pending) == workers:
                    yield pending.popleft().result()
                pending.append(pool.submit(function, item))
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def fit_intensity(
    name: str, intensity: Intensity, cases: list[Case], seed: int, workers: int
) -> Intensity:
    """Read training cases for the statistics of a dataset; return its intensity with a scale.

    Of each case a seeded sample is kept, so that no more than one case per worker is in memory.

    Raises:
        InputError: a case cannot be read, or its values tell nothing.
    """

    def read(case):
        images_SHW, labels_SHW, numbers_S, *_ = case.read()
        _check_sizes(f"dataset {name}, case {case.name}", images_SHW, labels_SHW, numbers_S)
        rng = np.random.default_rng(intensity_seed(seed, name, case.name))
        return sample(images_SHW, labels_SHW, intensity.over, SAMPLES // len(cases), rng)

    logger.info("%s: the values of %d training cases are read first", name, len(cases))
    samples_n = np.concatenate(list(map_in_order(read, cases, workers)))
    try:
        fitted = intensity.fit_dataset(samples_n)
    except InputError as error:
        raise InputError(f"dataset {name}: {error}") from None
    logger.info("%s: %d of their values give %s", name, len(samples_n), fitted.scale)
    return fitted


@dataclass
class Prepared:
    """The slices of a case as they are stored; there may be none.

    Attributes:
        images_SHW: float16, in [-1, 1] unless the intensity's method is "none".
        labels_SHW: uint8 class indices.
        numbers_S: slice numbers.
        spacing_3: of slices, rows and columns in mm, NaN where unknown.
        changes: what resizing did to the structures; None where slices keep their source's grid.
        scale: how source values became those stored.
        clipped: pixels that this clipped.
    """

    images_SHW: np.ndarray
    labels_SHW: np.ndarray
    numbers_S: np.ndarray
    spacing_3: np.ndarray
    changes: CaseChanges | None
    scale: Scale
    clipped: Clipped


def prepare_case(
    name: str, case: Case, settings: Settings, classes: int, intensity: Intensity
) -> Prepared:
    """Read one case; validate, select, normalise and resize its slices.

    Args:
        name: the dataset's name, for messages.
        settings: the dataset's settings.
        classes: number of classes, background included.
        intensity: how values become those stored; with its scale, unless each case has its own.

    Raises:
        InputError: the case cannot be read, a slice is unfit for training, or the grid that the
            settings ask for cannot be made.
    """
    where = f"dataset {name}, case {case.name}"
    images_SHW, labels_SHW, numbers_S, *more = case.read()
    numbers_S, source_3 = np.asarray(numbers_S), more[0] if more else None
    _check_sizes(where, images_SHW, labels_SHW, numbers_S)
    only_structure = settings["select"] == "structure"
    rows = np.arange(len(numbers_S))
    if only_structure:
        rows = np.flatnonzero(labels_SHW.any(axis=(1, 2)))
    _check_slices(where, images_SHW, labels_SHW, numbers_S, rows, classes)
    shape_HW, pixel_mm = images_SHW.shape[1:], settings.get("spacing")
    try:
        grid = fit_grid(shape_HW, source_3, settings["size"], pixel_mm)
        scale = intensity.fit(images_SHW)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    changes = None
    if grid != fit_grid(shape_HW):
        voxel_mm3 = float("nan") if source_3 is None else float(np.prod(source_3))
        changes = CaseChanges(grid, voxel_mm3, classes)
    clipped = Clipped()
    images_SHW, labels_SHW = _convert(
        where, images_SHW, labels_SHW, numbers_S, rows, settings, grid, scale, changes, clipped
    )
    numbers_S = numbers_S[rows]
    if only_structure:
        # A structure of a few pixels can vanish when the slice shrinks.
        keep = labels_SHW.any(axis=(1, 2))
        if changes is not None and not keep.all():
            changes.dropped = int((~keep).sum())
            images_SHW, labels_SHW, numbers_S = images_SHW[keep], labels_SHW[keep], numbers_S[keep]
    spacing_3 = grid.spacing(source_3)
    return Prepared(images_SHW, labels_SHW, numbers_S, spacing_3, changes, scale, clipped)


def _convert(
    where, images_SHW, labels_SHW, numbers_S, rows, settings, grid, scale, changes, clipped
):
    """Return the slices `rows`, scaled and resized, as float16 images and uint8 labels.

    Batches keep memory low: a whole scan of 450 slices is 0.5 GB as float32 at 512 x 512.
    """
    shape, padding = (len(rows), *grid.shape), scale.padding(images_SHW)
    stored, labels = np.empty(shape, np.float16), np.empty(shape, np.uint8)
    for start in range(0, len(rows), BATCH):
        batch = slice(start, start + BATCH)
        values, chosen = images_SHW[rows[batch]], labels_SHW[rows[batch]]
        scaled = scale.apply(values)
        _check_scaled(where, values, scaled, numbers_S[rows[batch]], scale)
        clipped.count(values, chosen, scale)
        if changes is not None:
            scaled = resize_images(scaled, grid, padding)
            source, chosen = chosen, resize_labels(chosen, grid, settings["resize_labels"])
            changes.count(source, chosen)
        stored[batch], labels[batch] = scaled, chosen
    return stored, labels


def _check_sizes(where, images_SHW, labels_SHW, numbers_S):
    """Refuse images and masks of different sizes."""
    if images_SHW.shape != labels_SHW.shape or len(images_SHW) != len(numbers_S):
        images, masks = (" x ".join(map(str, a.shape)) for a in (images_SHW, labels_SHW))
        raise InputError(
            f"{where}: images are {images} but masks {masks} (slices x height x width); give "
            "every image a mask of its own size."
        )


def _check_slices(where, images_SHW, labels_SHW, numbers_S, rows, classes):
    """Refuse values that are not finite, constant images, and labels that are not classes."""
    for row in rows:
        image_HW, labels_HW = images_SHW[row], labels_SHW[row]
        slice_ = f"{where}, slice {numbers_S[row]}"
        if not np.isfinite(image_HW).all():
            raise InputError(
                f"{slice_}: the image holds NaN or infinity, expected finite values; repair or "
                "remove the slice."
            )
        if image_HW.min() == image_HW.max():
            raise InputError(
                f"{slice_}: every pixel of the image is {image_HW.min():g}, so it shows nothing; "
                "remove the slice, or check that the right file was read."
            )
        if labels_HW.max() >= classes:
            raise InputError(
                f"{slice_}: a label is {labels_HW.max()}, expected 0 to {classes - 1}; check the "
                "mask values in `classes`."
            )


def _check_scaled(where, values_SHW, scaled_SHW, numbers_S, scale):
    """Refuse a slice of which clipping leaves nothing, as all is on one side, and huge values."""
    for number, values_HW, scaled_HW in zip(numbers_S, values_SHW, scaled_SHW, strict=True):
        low, high = values_HW.min(), values_HW.max()
        ends = scale.ends
        if scaled_HW.min() == scaled_HW.max():
            raise InputError(
                f"{where}, slice {number}: the values are {low:g} to {high:g}, so `window` "
                f"[{ends[0]:g}, {ends[1]:g}], or what `normalise` makes of it, leaves nothing to "
                "see; give the values between which the structure shows, or remove the slice."
            )
        if max(scaled_HW.max(), -scaled_HW.min()) > LARGEST:
            raise InputError(
                f"{where}, slice {number}: the values are {low:g} to {high:g}, and as they are "
                f"none beyond {LARGEST} can be stored; set a `window`, or another `normalise` than "
                "none."
            )
