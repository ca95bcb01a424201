"""From source data to a dataset file: split, validate, scale, resize, write; one case at a time.

Shape legend: S slices of a case, K channels, H height, W width in pixels.
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

from labelnoise.config.channels import intensity_settings
from labelnoise.data.case_names import shown_names
from labelnoise.data.changes import CaseChanges, Changes, Clipped
from labelnoise.data.intensity import LARGEST, SAMPLES, Intensity, Scale, sample
from labelnoise.data.resize import fit_grid, resize_images, resize_labels
from labelnoise.data.sources import (
    Case,
    Settings,
    channel_names,
    check_folder,
    open_source,
    split_channels,
)
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

    chosen = intensity_settings(name, settings, channel_names(source, settings))
    intensities = {channel: Intensity.of_settings(each) for channel, each in chosen.items()}
    # Folds share their slices, and each case is a training case of some of them.
    training = [case for case in cases if folds or splits[case.name] == "train"]
    intensities = fit_intensities(name, intensities, training, seed, workers)
    changes = Changes(name, names, list(intensities))

    def prepare(case):
        return prepare_case(name, case, settings, len(names), intensities)

    with write_dataset(
        path,
        name=name,
        class_names=names,
        intensities=intensities,
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
    changes.add(known_as, made.spacing_3, made.changes, made.clipped, made.scales)
    if len(made.numbers_S):
        slices = (made.numbers_S, made.images_SKHW, made.labels_SHW)
        about = (made.spacing_3, made.scales, case.name)
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


def fit_intensities(
    name: str,
    intensities: Mapping[str, Intensity],
    cases: list[Case],
    seed: int,
    workers: int,
) -> dict[str, Intensity]:
    """Return the intensities, with a scale for each channel that has one of the whole dataset.

    That scale comes from the training cases, which are read for it. Of each a seeded sample is
    kept, so that no more than one case per worker is in memory.

    Args:
        name: the dataset's name, for messages and seeds.
        intensities: {channel: intensity}.
        cases: those of the training split.

    Raises:
        InputError: a case cannot be read, or its values tell nothing.
    """
    wanted = {
        place: channel
        for place, (channel, each) in enumerate(intensities.items())
        if each.scale is None and each.by == "dataset"
    }
    if not wanted:
        return dict(intensities)

    def read(case):
        images, labels_SHW, numbers_S, *_ = case.read()
        channels = split_channels(images)
        _check_sizes(f"dataset {name}, case {case.name}", channels, labels_SHW, numbers_S)
        drawn = []
        for place, channel in wanted.items():
            # Of all channels the same pixels, as far as the same ones count.
            rng = np.random.default_rng(intensity_seed(seed, name, case.name))
            over, most = intensities[channel].over, SAMPLES // len(cases)
            drawn.append(sample(channels[place], labels_SHW, over, most, rng))
        return drawn

    logger.info("%s: the values of %d training cases are read first", name, len(cases))
    found = dict(intensities)
    drawn = list(map_in_order(read, cases, workers))
    for channel, samples in zip(wanted.values(), zip(*drawn, strict=True), strict=True):
        samples_n = np.concatenate(samples)
        try:
            found[channel] = intensities[channel].fit_dataset(samples_n)
        except InputError as error:
            raise InputError(f"dataset {name}{_of(channel, intensities)}: {error}") from None
        of_channel = _of(channel, intensities)
        logger.info(
            "%s%s: %d of their values give %s",
            name,
            of_channel,
            len(samples_n),
            found[channel].scale,
        )
    return found


def _of(channel, channels):
    """Return the words that name a channel in a message, where there are several."""
    return "" if len(channels) == 1 else f", channel {channel}"


@dataclass
class Prepared:
    """The slices of a case as they are stored; there may be none.

    Attributes:
        images_SKHW: float16, in [-1, 1] unless the intensity's method is "none".
        labels_SHW: uint8 class indices.
        numbers_S: slice numbers.
        spacing_3: of slices, rows and columns in mm, NaN where unknown.
        changes: what resizing did to the structures; None where slices keep their source's grid.
        scales: how source values of each channel became those stored.
        clipped: pixels of each channel that this clipped.
    """

    images_SKHW: np.ndarray
    labels_SHW: np.ndarray
    numbers_S: np.ndarray
    spacing_3: np.ndarray
    changes: CaseChanges | None
    scales: list[Scale]
    clipped: list[Clipped]


def prepare_case(
    name: str, case: Case, settings: Settings, classes: int, intensities: Mapping[str, Intensity]
) -> Prepared:
    """Read one case; validate, select, normalise and resize its slices.

    Args:
        name: the dataset's name, for messages.
        case: the case.
        settings: the dataset's settings.
        classes: number of classes, background included.
        intensities: {channel: how its values become those stored}; with a scale, unless each case
            has its own.

    Raises:
        InputError: the case cannot be read, a slice is unfit for training, or the grid that the
            settings ask for cannot be made.
    """
    where = f"dataset {name}, case {case.name}"
    images, labels_SHW, numbers_S, *more = case.read()
    channels = dict(zip(intensities, split_channels(images), strict=True))
    numbers_S, source_3 = np.asarray(numbers_S), more[0] if more else None
    _check_sizes(where, list(channels.values()), labels_SHW, numbers_S)
    only_structure = settings["select"] == "structure"
    rows = np.arange(len(numbers_S))
    if only_structure:
        rows = np.flatnonzero(labels_SHW.any(axis=(1, 2)))
    _check_slices(where, channels, labels_SHW, numbers_S, rows, classes)
    shape_HW, pixel_mm = labels_SHW.shape[1:], settings.get("spacing")
    try:
        grid = fit_grid(shape_HW, source_3, settings["size"], pixel_mm)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    scales = []
    for channel, images_SHW in channels.items():
        try:
            scales.append(intensities[channel].fit(images_SHW))
        except InputError as error:
            raise InputError(f"{where}{_of(channel, channels)}: {error}") from None
    changes = None
    if grid.resamples:
        voxel_mm3 = float("nan") if source_3 is None else float(np.prod(source_3))
        changes = CaseChanges(grid, voxel_mm3, classes)
    clipped = [Clipped() for _ in channels]
    images_SKHW, labels_SHW = _convert(
        where, channels, labels_SHW, numbers_S, rows, settings, grid, scales, changes, clipped
    )
    numbers_S = numbers_S[rows]
    if only_structure:
        # A structure of a few pixels can vanish when the slice shrinks.
        keep = labels_SHW.any(axis=(1, 2))
        if changes is not None and not keep.all():
            changes.dropped = int((~keep).sum())
            images_SKHW, labels_SHW = images_SKHW[keep], labels_SHW[keep]
            numbers_S = numbers_S[keep]
    spacing_3 = grid.spacing(source_3)
    return Prepared(images_SKHW, labels_SHW, numbers_S, spacing_3, changes, scales, clipped)


def _convert(
    where, channels, labels_SHW, numbers_S, rows, settings, grid, scales, changes, clipped
):
    """Return the slices `rows`, scaled and resized, as float16 images and uint8 labels.

    Batches keep memory low: a whole scan of 450 slices is 0.5 GB as float32 at 512 x 512.
    """
    paddings = [
        scale.padding(images_SHW)
        for scale, images_SHW in zip(scales, channels.values(), strict=True)
    ]
    stored = np.empty((len(rows), len(channels), *grid.shape), np.float16)
    labels = np.empty((len(rows), *grid.shape), np.uint8)
    for start in range(0, len(rows), BATCH):
        batch = slice(start, start + BATCH)
        chosen, numbers = labels_SHW[rows[batch]], numbers_S[rows[batch]]
        values, scaled = [], []
        for place, images_SHW in enumerate(channels.values()):
            values.append(images_SHW[rows[batch]])
            scaled.append(scales[place].apply(values[place]))
            clipped[place].count(values[place], chosen, scales[place])
        _check_scaled(where, values, scaled, numbers, scales, list(channels))
        for place, scaled_SHW in enumerate(scaled):
            if changes is not None:
                scaled_SHW = resize_images(scaled_SHW, grid, paddings[place])
            stored[batch, place] = scaled_SHW
        if changes is not None:
            source, chosen = chosen, resize_labels(chosen, grid, settings["resize_labels"])
            changes.count(source, chosen)
        labels[batch] = chosen
    return stored, labels


def _check_sizes(where, channels, labels_SHW, numbers_S):
    """Refuse images and masks of different sizes."""
    for images_SHW in channels:
        if images_SHW.shape != labels_SHW.shape or len(images_SHW) != len(numbers_S):
            images, masks = (" x ".join(map(str, a.shape)) for a in (images_SHW, labels_SHW))
            raise InputError(
                f"{where}: images are {images} but masks {masks} (slices x height x width); give "
                "every image a mask of its own size."
            )


def _check_slices(where, channels, labels_SHW, numbers_S, rows, classes):
    """Refuse values that are not finite, constant images, and labels that are not classes.

    Of several channels one may be constant, such as the blue of a red slice.
    """
    for row in rows:
        labels_HW, slice_ = labels_SHW[row], f"{where}, slice {numbers_S[row]}"
        for channel, images_SHW in channels.items():
            if not np.isfinite(images_SHW[row]).all():
                raise InputError(
                    f"{slice_}{_of(channel, channels)}: the image holds NaN or infinity, expected "
                    "finite values; repair or remove the slice."
                )
        if all(images_SHW[row].min() == images_SHW[row].max() for images_SHW in channels.values()):
            found = ", ".join(f"{images_SHW[row].min():g}" for images_SHW in channels.values())
            raise InputError(
                f"{slice_}: every pixel of the image is {found}, so it shows nothing; remove the "
                "slice, or check that the right file was read."
            )
        if labels_HW.max() >= classes:
            raise InputError(
                f"{slice_}: a label is {labels_HW.max()}, expected 0 to {classes - 1}; check the "
                "mask values in `classes`."
            )


def _check_scaled(where, values, scaled, numbers_S, scales, channels):
    """Refuse a slice of which clipping leaves nothing in any channel, and huge values.

    Args:
        values, scaled: (S, H, W) of each channel.
        channels: their names.
    """
    for row, number in enumerate(numbers_S):
        slice_ = f"{where}, slice {number}"
        if all(scaled_SHW[row].min() == scaled_SHW[row].max() for scaled_SHW in scaled):
            raise InputError(f"{slice_}: {_nothing_left(values, row, scales, channels)}")
        for channel, values_SHW, scaled_SHW in zip(channels, values, scaled, strict=True):
            if max(scaled_SHW[row].max(), -scaled_SHW[row].min()) > LARGEST:
                low, high = values_SHW[row].min(), values_SHW[row].max()
                raise InputError(
                    f"{slice_}{_of(channel, channels)}: the values are {low:g} to {high:g}, and as "
                    f"they are none beyond {LARGEST} can be stored; set a `window`, or another "
                    "`normalise` than none."
                )


def _nothing_left(values, row, scales, channels):
    found = []
    for channel, values_SHW, scale in zip(channels, values, scales, strict=True):
        of_channel = "" if len(channels) == 1 else f" of channel {channel}"
        low, high = scale.ends
        found.append(
            f"the values{of_channel} are {values_SHW[row].min():g} to {values_SHW[row].max():g}, "
            f"so `window` [{low:g}, {high:g}], or what `normalise` makes of it, leaves nothing to "
            "see"
        )
    return (
        f"{'; '.join(found)}; give the values between which the structure shows, or remove the "
        "slice."
    )
