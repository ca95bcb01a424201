"""What the values of a label file mean: their class indices, and which values are refused."""

from collections.abc import Collection, Iterable

import numpy as np

from labelnoise.data.sources import Classes
from labelnoise.errors import InputError

# Values up to here are looked up in a table, which one far above would make too large.
LARGEST_IN_TABLE = 2**16
# More runs of consecutive values than any label file has: what has them is an image.
MOST_RANGES = 100


def to_class_indices(
    label_array: np.ndarray,
    classes: Classes,
    where: str,
    ignore: Collection[int] = (),
    others: str = "refuse",
) -> np.ndarray:
    """Turn label values into class indices, one slab at a time.

    Args:
        label_array: whole numbers, of any type.
        classes: {name: values that mean it}, in the order of the class indices, no value twice; 0
            is background.
        where: the file, for messages.
        ignore: values that become background.
        others: what happens to values that neither names: "refuse", or "background".

    Returns:
        uint8 class indices, 0 for background, of the same shape and memory order.

    Raises:
        InputError: a value is not whole, or not known and `others` is "refuse".
    """
    index_of = class_of_value(classes, ignore)
    class_indices = _lookup(index_of, 0 if others == "background" else -1)
    indices = np.empty_like(label_array, np.uint8, subok=False)
    slowest = int(np.argmax(np.abs(label_array.strides)))
    strange = set()
    for values, slab in zip(
        np.moveaxis(label_array, slowest, 0), np.moveaxis(indices, slowest, 0), strict=True
    ):
        whole = whole_numbers(values, where)
        found = class_indices(whole)
        slab[...] = found
        if found.min(initial=0) < 0:
            strange |= set(np.unique(whole[found < 0]).tolist())
    if strange:
        raise InputError(
            f"{where}: it holds {len(strange)} unknown label values ({ranges(strange)}), expected "
            f"only {ranges(index_of)}; add them to a class of `classes`, or to `ignore` to make "
            "them background, or set `others: background`, which makes all other values that."
        )
    return indices


def class_of_value(classes: Classes, ignore: Collection[int] = ()) -> dict[int, int]:
    """Map each known label value to its class index, 0 for background and ignored values."""
    index_of = dict.fromkeys([0, *ignore], 0)
    for index, values in enumerate(classes.values(), start=1):
        index_of |= dict.fromkeys(values, index)
    return index_of


def ranges(values: Iterable[int]) -> str:
    """Return whole numbers in words, runs of three or more as a range: 0, 1, 5-17."""
    runs: list[list[int]] = []
    for value in sorted(set(values)):
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    words = []
    for run in runs[:MOST_RANGES]:
        if len(run) < 3:
            words += map(str, run)
        else:
            words.append(f"{run[0]}{'-' if run[0] >= 0 else ' to '}{run[-1]}")
    left = sum(map(len, runs[MOST_RANGES:]))
    return ", ".join(words) + (f" and {left} more" if left else "")


def _lookup(index_of, other):
    """Return a function from whole numbers to class indices, `other` for values not in the map."""
    known = np.array(sorted(index_of))
    index = np.array([index_of[value] for value in known.tolist()], np.int16)
    if known[-1] > LARGEST_IN_TABLE:

        def search(whole):
            places = np.searchsorted(known, whole).clip(max=len(known) - 1)
            return np.where(known[places] == whole, index[places], np.int16(other))

        return search
    table = np.full(known[-1] + 3, other, np.int16)
    # Shifted by one: the first and last entries stand for all values below 0 and above the highest.
    table[known + 1] = index
    return lambda whole: table[np.clip(whole, -1, len(table) - 2) + 1]


def whole_numbers(values: np.ndarray, where: str) -> np.ndarray:
    """Return label values as int64.

    Args:
        where: the file, for messages.

    Raises:
        InputError: they are no numbers, or not whole.
    """
    if values.dtype.kind in "biu":
        return values.astype(np.int64)
    if values.dtype.kind == "f":
        broken = ~np.isfinite(values) | (values != np.rint(values))
        if not broken.any():
            return values.astype(np.int64)
        found = ", ".join(f"{value:g}" for value in np.unique(values[broken])[:3])
    else:
        found = f"type {values.dtype}"
    raise InputError(
        f"{where}: the labels are not whole numbers ({found}), expected one whole number per "
        "voxel; export the labels without interpolation, or check that this is not an image."
    )
