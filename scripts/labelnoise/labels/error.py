"""How far perturbed labels are from the reference: pooled overlap, and distance between surfaces.

Shape legend: N slices, H height, W width, B boundary pixels.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike

from labelnoise.counts import dice, overlap, precision, recall, volume_ratio
from labelnoise.labels.contours import bounding_box

if TYPE_CHECKING:
    from scipy.spatial import KDTree


@dataclass(frozen=True)
class Overlap:
    """How one binary structure's labels overlap with the reference, over a set of slices.

    Pooled over all pixels of the set, with the reference for truth; a share whose denominator is 0
    is NaN.

    label_dice: 2 TP / (2 TP + FP + FN), 0 to 1.
    precision: TP / (TP + FP), the share of the perturbed foreground that is right.
    recall: TP / (TP + FN), the share of the reference foreground that is kept.
    volume_ratio: perturbed over reference foreground, 1 where the size holds.
    """

    label_dice: float
    precision: float
    recall: float
    volume_ratio: float

    @classmethod
    def of(cls, counts_4: ArrayLike, **others: float) -> Self:
        """Return the overlap of counts tp, fp, fn, tn, with the other attributes of a subclass."""
        return cls(
            label_dice=float(dice(counts_4)),
            precision=float(precision(counts_4)),
            recall=float(recall(counts_4)),
            volume_ratio=float(volume_ratio(counts_4)),
            **others,
        )


@dataclass(frozen=True)
class LabelError(Overlap):
    """Error of one binary structure's labels, over a set of slices.

    surface_distance: mean symmetric surface distance in pixels: from every boundary pixel of either
        mask to the nearest boundary pixel of the other, averaged over both directions and all
        slices together. Slices where either mask is empty have no distance and are left out; NaN
        where none is left.
    """

    surface_distance: float


class ErrorSums:
    """What a LabelError is made of, which adds up over slices."""

    def __init__(self) -> None:
        self._counts_4 = np.zeros(4, np.int64)
        self._distance, self._boundary = 0.0, 0

    def add(self, reference_NHW: Iterable, perturbed_NHW: Iterable) -> None:
        """Add slices, given as to `measure`."""
        for reference_HW, perturbed_HW in zip(reference_NHW, perturbed_NHW, strict=True):
            self._counts_4 += overlap(reference_HW, perturbed_HW)
            distances_B = surface_distances(reference_HW, perturbed_HW)
            self._distance += float(distances_B.sum())
            self._boundary += len(distances_B)

    def error(self) -> LabelError:
        """Return the LabelError of all slices together."""
        mean = self._distance / self._boundary if self._boundary else float("nan")
        return LabelError.of(self._counts_4, surface_distance=mean)


def measure(reference_NHW: Iterable, perturbed_NHW: Iterable) -> LabelError:
    """Measure perturbed against reference masks of one binary structure.

    Args:
        reference_NHW: binary masks: an array, an open HDF5 dataset, or anything else that yields
            slices (H, W). Slices are taken one at a time, so the set need not fit in memory.
        perturbed_NHW: the same number of masks of the same shapes.

    Returns:
        LabelError over all slices.

    Raises:
        ValueError: one holds more slices than the other.
    """
    sums = ErrorSums()
    sums.add(reference_NHW, perturbed_NHW)
    return sums.error()


def surface_distances(reference_HW: np.ndarray, perturbed_HW: np.ndarray) -> np.ndarray:
    """Return the distance from each boundary pixel of either mask to the nearest of the other.

    Returns:
        (B,) distances in pixels, those from the reference first; empty where either mask is empty.
    """
    reference_B2, perturbed_B2 = boundary_pixels(reference_HW), boundary_pixels(perturbed_HW)
    if len(reference_B2) == 0 or len(perturbed_B2) == 0:
        return np.zeros(0)
    return np.concatenate(
        [_to_nearest(reference_B2, perturbed_B2), _to_nearest(perturbed_B2, reference_B2)]
    )


def _to_nearest(from_B2, to_B2):
    """Return the distance from each of some pixels to the nearest of others."""
    # Nearest neighbours cost by the length of the boundary, a distance transform by the area of the
    # slice.
    return tree_of(to_B2).query(from_B2)[0]


def tree_of(pixels_B2: np.ndarray) -> "KDTree":
    """Return a tree of pixels, built fast, which is a large part of measuring distances by it."""
    from scipy.spatial import KDTree  # here, since those who only draw labels do without it

    return KDTree(pixels_B2, leafsize=24, compact_nodes=False, balanced_tree=False)


def boundary_pixels(mask_HW: np.ndarray) -> np.ndarray:
    """Return the foreground pixels with a 4-neighbour in the background or off the slice.

    Returns:
        (B, 2) rows and columns.
    """
    mask_HW = mask_HW.astype(bool, copy=False)
    if not mask_HW.any():
        return np.zeros((0, 2), int)
    rows, columns = bounding_box(mask_HW)
    crop_HW = mask_HW[rows, columns]
    # One line of pixels, background between two rows, of which neighbours are views.
    width = crop_HW.shape[1] + 1
    framed_HW = np.zeros((len(crop_HW) + 2, width), bool)
    framed_HW[1:-1, 1:] = crop_HW
    line = framed_HW.ravel()
    above, below = line[: -2 * width], line[2 * width :]
    left, right = line[width - 1 : -width - 1], line[width + 1 : len(line) - width + 1]
    found = np.flatnonzero(line[width:-width] & ~(above & below & left & right))
    row_B, column_B = np.divmod(found, width)
    return np.column_stack([row_B + rows.start, column_B - 1 + columns.start])
