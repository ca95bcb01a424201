"""Which slices the picture figures show, and what they call them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labelnoise.counts import class_sizes

if TYPE_CHECKING:
    from labelnoise.data.storage import Dataset


def typical_rows(data: Dataset, split: str, number: int) -> dict[int, list[int]]:
    """Choose slices of different cases that show much of a structure, the same at every call.

    Args:
        data: the dataset.
        split: the split to choose from.
        number: how many, shared among the structures, but at least one of each; fewer if the split
            has fewer cases.

    Returns:
        {class index: rows of the dataset, one per case, which show that structure}.
    """
    rows, classes = data.rows(split), len(data.class_names)
    areas_NC = np.array([class_sizes(data.read_labels([row]), classes) for row in rows])
    each = max(1, number // (classes - 1))
    return {
        index: _largest_of_cases(data, rows, areas_NC[:, index], each)
        for index in range(1, classes)
    }


def slice_name(data: Dataset, row: int) -> str:
    """Return the name of a slice: its case and its number there."""
    return f"{data.case[row]}, slice {data.slice[row]}"


def row_title(data: Dataset, index: int, name: str) -> str:
    """Return the title of a row of panels: a name, with the structure where there are several."""
    return name if len(data.class_names) == 2 else f"{data.class_names[index]}: {name}"


def _largest_of_cases(data, rows, areas_N, number):
    """Return the slice with the largest area of evenly spaced cases that have any."""
    largest = {}
    for row, area in zip(rows[areas_N > 0], areas_N[areas_N > 0], strict=True):
        largest[data.case[row]] = max(largest.get(data.case[row], (area, row)), (area, row))
    cases = sorted(largest)
    spaced = np.linspace(0, len(cases) - 1, min(number, len(cases))).round().astype(int)
    return [int(largest[cases[position]][1]) for position in spaced]
