"""From source data to a dataset file: split, validate, window, resize, write; one case at a time.

Shape legend: S slices of a case, H height, W width in pixels.
"""

import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.sparse import csr_array

from labelnoise.data.sources import check_folder, open_source
from labelnoise.data.storage import SPLITS, write_dataset
from labelnoise.errors import InputError
from labelnoise.seeds import source_seed, split_seed

logger = logging.getLogger(__name__)
# Slices in work at a time: beside them a case is in memory once as read and once as stored.
BATCH = 16


def prepare_dataset(name, settings, seed, path, workers=1):
    """Write the dataset file of one entry of `datasets` in the config.

    Cases are read by `workers` threads and written in their order, so the file does not depend on
    `workers`. One worker holds one case in memory at a time, more hold one more than their number.

    Args:
        name: the dataset's name in the config.
        settings: its settings, checked and completed with the schema's defaults.
        seed: the study's seed.
        path: the HDF5 file to write; it appears whole or not at all.

    Raises:
        InputError: the source data or the settings cannot make a dataset.
    """
    check_folder(name, settings)
    source = open_source(settings["source"])
    window = check_window(name, settings["window"])
    names = source.class_names(settings)
    cases = source.cases(settings, source_seed(seed, name))
    splits = assign_splits(name, cases, settings.get("split"), split_seed(seed, name))
    provenance = source.describe(settings) | {"source": settings["source"]}

    def prepare(case):
        return prepare_case(name, case, settings, window, len(names))

    with write_dataset(
        path,
        name=name,
        class_names=names,
        window=window,
        provenance=provenance,
        workers=workers,
    ) as writer:
        left_out = []
        prepared = map_in_order(prepare, cases, workers)
        for done, case in enumerate(cases, start=1):
            # Not by `zip`, which would keep a case's slices until the next one's are ready.
            if not _append(writer, case, splits[case.name], next(prepared)):
                left_out.append(case.name)
            logger.info("%s: case %s, %d of %d", name, case.name, done, len(cases))
        _log_left_out(name, left_out, len(cases))


def _append(writer, case, split, slices):
    """Write the slices of a case; False where none is left."""
    images_SHW, labels_SHW, numbers_S, spacing_3 = slices
    if len(numbers_S):
        writer.append(case.name, split, numbers_S, images_SHW, labels_SHW, spacing_3)
        return True
    logger.warning("case %s shows no structure in any slice and is left out", case.name)
    return False


def _log_left_out(name, cases, total):
    if cases:
        logger.warning(
            "%s: %d of %d cases are left out, as no slice of theirs shows a structure: %s",
            *(name, len(cases), total, ", ".join(cases)),
        )


def map_in_order(function, items, workers):
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


def prepare_case(name, case, settings, window, classes):
    """Read one case; validate, select, window and resize its slices.

    Returns:
        images_SHW float16 in [-1, 1], labels_SHW uint8, slice numbers (S,), and spacing (3,) of
        slices, rows and columns in mm, NaN where unknown; S may be 0.
    """
    where = f"dataset {name}, case {case.name}"
    images_SHW, labels_SHW, numbers_S, *spacing = case.read()
    check_sizes(where, images_SHW, labels_SHW, numbers_S)
    only_structure = settings.get("select", "structure") == "structure"
    rows = np.arange(len(numbers_S))
    if only_structure:
        rows = np.flatnonzero(labels_SHW.any(axis=(1, 2)))
    check_slices(where, images_SHW, labels_SHW, numbers_S, rows, classes)
    size = settings.get("size")
    spacing_3 = resize_spacing(spacing[0] if spacing else None, images_SHW.shape[1:], size)
    images_SHW, labels_SHW = convert_slices(
        where, images_SHW, labels_SHW, rows, numbers_S, window, size, classes
    )
    numbers_S = np.asarray(numbers_S)[rows]
    if only_structure:
        # A structure of a few pixels can vanish when the slice shrinks.
        keep = labels_SHW.any(axis=(1, 2))
        if not keep.all():
            images_SHW, labels_SHW, numbers_S = images_SHW[keep], labels_SHW[keep], numbers_S[keep]
    return images_SHW, labels_SHW, numbers_S, spacing_3


def convert_slices(where, images_SHW, labels_SHW, rows, numbers_S, window, size, classes):
    """Window and resize some slices as they are stored, in batches.

    Batches keep memory low: a whole scan of 450 slices is 0.5 GB as float32 at 512 x 512.

    Returns:
        images float16 in [-1, 1] and labels uint8 of the slices `rows`.

    Raises:
        InputError: the window leaves nothing to see of a slice.
    """
    shape = (len(rows), size, size) if size else (len(rows), *images_SHW.shape[1:])
    stored, labels = np.empty(shape, np.float16), np.empty(shape, np.uint8)
    for start in range(0, len(rows), BATCH):
        batch = slice(start, start + BATCH)
        windowed = apply_window(images_SHW[rows[batch]], window)
        check_windowed(where, images_SHW, windowed, rows[batch], numbers_S, window)
        chosen = labels_SHW[rows[batch]]
        if size:
            windowed = resize_images(pad_to_square(windowed, -1), size)
            chosen = resize_labels(pad_to_square(chosen, 0), size, classes)
        stored[batch], labels[batch] = windowed, chosen
    return stored, labels


def resize_spacing(spacing_3, shape_HW, size):
    """Spacing of slices, rows and columns after `pad_to_square` and a resize to `size`.

    Padding keeps the size of a pixel; resizing scales both its sides alike.

    Args:
        spacing_3: in mm, or None where it is not known.
        size: pixels along each side, or None to keep the slices.

    Returns:
        (3,) float32, NaN where unknown.
    """
    if spacing_3 is None:
        return np.full(3, np.nan, np.float32)
    scale = max(shape_HW) / size if size else 1
    return (np.asarray(spacing_3) * [1, scale, scale]).astype(np.float32)


def check_window(name, window):
    """The window as (low, high) floats, in source units.

    Raises:
        InputError: it does not rise.
    """
    low, high = (float(limit) for limit in window)
    if not low < high:
        raise InputError(
            f"dataset {name}: `window` is [{low:g}, {high:g}], expected [low, high] with low < "
            "high; write the smaller value first."
        )
    return low, high


def check_sizes(where, images_SHW, labels_SHW, numbers_S):
    """Refuse images and masks of different sizes.

    Raises:
        InputError: they differ.
    """
    if images_SHW.shape != labels_SHW.shape or len(images_SHW) != len(numbers_S):
        raise InputError(
            f"{where}: images are {_size(images_SHW)} but masks {_size(labels_SHW)} (slices x "
            "height x width); give every image a mask of its own size."
        )


def check_slices(where, images_SHW, labels_SHW, numbers_S, rows, classes):
    """Refuse slices that no network should see, among the slices `rows`.

    Raises:
        InputError: a value is not finite, an image is constant, or a label is no class.
    """
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


def check_windowed(where, images_SHW, windowed, rows, numbers_S, window):
    """Refuse a slice that a window makes constant: all of it lies on one side.

    Raises:
        InputError: one does.
    """
    for row, windowed_HW in zip(rows, windowed, strict=True):
        if windowed_HW.min() == windowed_HW.max():
            low, high = images_SHW[row].min(), images_SHW[row].max()
            raise InputError(
                f"{where}, slice {numbers_S[row]}: the values are {low:g} to {high:g}, so `window` "
                f"[{window[0]:g}, {window[1]:g}] leaves nothing to see; give the values between "
                "which the structure shows, or remove the slice."
            )


def _size(array):
    return " x ".join(str(length) for length in array.shape)


def assign_splits(name, cases, fractions, seed):
    """Map the name of each case to its split; the source's own split where it fixes one.

    Raises:
        InputError: two cases share a name, or `split_cases` refuses.
    """
    names = [case.name for case in cases]
    twice = sorted({case for case in names if names.count(case) > 1})
    if twice:
        raise InputError(
            f"dataset {name}: case {twice[0]!r} comes {names.count(twice[0])} times; give every "
            "case its own name."
        )
    if cases and all(case.split for case in cases):
        return {case.name: case.split for case in cases}
    return split_cases(name, names, fractions, seed)


def split_cases(name, cases, fractions, seed):
    """Split cases at random into train, validation and test.

    Counts are the fractions by largest remainder, and at least one case each.

    Args:
        name: the dataset, for messages.
        cases: names of the cases; their order matters as much as the seed.
        fractions: {"train": share, "validation": share, "test": share}, summing to 1.

    Returns:
        {case: split}.

    Raises:
        InputError: the fractions do not sum to 1 or one is not positive, or cases are too few.
    """
    shares = [float(fractions.get(split, 0)) for split in SPLITS]
    given = ", ".join(f"{split} {share:g}" for split, share in zip(SPLITS, shares, strict=True))
    if abs(sum(shares) - 1) > 1e-6 or min(shares) <= 0:
        raise InputError(
            f"dataset {name}: `split` is {given}, which sums to {sum(shares):g}, expected three "
            "shares above 0 that sum to 1; correct the fractions."
        )
    if len(cases) < len(SPLITS):
        raise InputError(
            f"dataset {name}: there is too little to split, {len(cases)} cases, and at least "
            f"{len(SPLITS)} are needed, one each for {', '.join(SPLITS)}; add cases."
        )
    counts = _share_out(len(cases), shares)
    order = np.random.default_rng(seed).permutation(len(cases))
    labels = np.repeat(SPLITS, counts).tolist()
    split_of = dict(zip(order.tolist(), labels, strict=True))
    return {case: split_of[position] for position, case in enumerate(cases)}


def _share_out(total, shares):
    """Whole counts by largest remainder, none of them 0."""
    exact = total * np.array(shares)
    counts = np.floor(exact + 1e-9).astype(int)
    # Ties go to the first split; rounding keeps them ties.
    for position in np.argsort(-np.round(exact - counts, 9), kind="stable")[: total - counts.sum()]:
        counts[position] += 1
    while counts.min() == 0:
        counts[counts.argmax()] -= 1
        counts[counts.argmin()] += 1
    return counts


def apply_window(images, window):
    """Clip to the window and map it to [-1, 1], as float32."""
    low, high = window
    # In place after the first step: a whole scan at 512 x 512 is half a gigabyte.
    scaled = np.subtract(images, low, dtype=np.float32)
    scaled *= 2 / (high - low)
    scaled -= 1
    return np.clip(scaled, -1, 1, out=scaled)


def pad_to_square(stack_SHW, value):
    """Pad the shorter side on both ends, so that resizing keeps shapes; images with -1, labels 0.

    -1 is the window's minimum. An odd rest goes to the end.
    """
    height, width = stack_SHW.shape[1:]
    side = max(height, width)
    rows, columns = side - height, side - width
    ends = ((0, 0), (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2))
    return np.pad(stack_SHW, ends, constant_values=value)


def resize_images(images_SHW, size):
    """Resize to size x size: the mean over the area of a new pixel, linear where the image grows.

    Area means do not alias, and keep the mean of the image.
    """
    rows, columns = (_resize_matrix(length, size) for length in images_SHW.shape[1:])
    resized = [_resize(image_HW, rows, columns) for image_HW in images_SHW]
    return np.array(resized, np.float32).reshape(-1, size, size)


def resize_labels(labels_SHW, size, classes):
    """Resize labels: each new pixel gets the class that covers most of its area.

    The shares are the resized maps of the classes, so labels follow images exactly. Unlike nearest
    neighbour this does not drop or keep thin structures by the chance of the grid. Equal shares go
    to the higher index, so foreground wins over background: at half size a line one pixel wide
    survives. A structure that covers less than half of every new pixel does vanish.
    """
    rows, columns = (_resize_matrix(length, size) for length in labels_SHW.shape[1:])
    resized_SHW = np.zeros((len(labels_SHW), size, size), np.uint8)
    for labels_HW, resized_HW in zip(labels_SHW, resized_SHW, strict=True):
        best_HW = np.full((size, size), -1.0)
        for index in range(classes):
            share_HW = _resize(labels_HW == index, rows, columns)
            wins_HW = share_HW > best_HW - 1e-9
            resized_HW[wins_HW], best_HW[wins_HW] = index, share_HW[wins_HW]
    return resized_SHW


def _resize(image_HW, rows, columns):
    # Sparse products add in a fixed order; dense ones may differ with the number of threads.
    return (columns @ (rows @ image_HW.astype(np.float64)).T).T


def _resize_matrix(old, new):
    """Weights (new, old) of a resize along one axis; every row sums to 1."""
    if new <= old:
        # A new pixel covers old / new old ones; the weight is the shared length.
        starts, ends = np.arange(new) * old / new, (np.arange(new) + 1) * old / new
        low = np.maximum(starts[:, None], np.arange(old)[None])
        high = np.minimum(ends[:, None], np.arange(old)[None] + 1)
        return csr_array(np.clip(high - low, 0, None) * new / old)
    centre = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return csr_array(np.clip(1 - np.abs(centre[:, None] - np.arange(old)[None]), 0, None))
