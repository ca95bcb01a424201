"""How far perturbed labels are from the reference: pooled overlap, and distance between surfaces.

Shape legend: N slices, H height, W width, B boundary pixels.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from labelnoise.counts import dice, overlap, precision, recall, volume_ratio


@dataclass(frozen=True)
class LabelError:
    """Error of one binary structure's labels, over a set of slices.

    Overlaps are pooled over all pixels of the set and take the reference for truth; a share whose
    denominator is 0 is NaN.

    label_dice: 2 TP / (2 TP + FP + FN), 0 to 1.
    precision: TP / (TP + FP), the share of the perturbed foreground that is right.
    recall: TP / (TP + FN), the share of the reference foreground that is kept.
    volume_ratio: perturbed over reference foreground, 1 where the size holds.
    surface_distance: mean symmetric surface distance in pixels: from every boundary pixel of either
        mask to the nearest boundary pixel of the other, averaged over both directions and all
        slices together. Slices where either mask is empty have no distance and are left out; NaN
        where none is left.
    """

    label_dice: float
    precision: float
    recall: float
    volume_ratio: float
    surface_distance: float


@dataclass(frozen=True)
class ErrorSums:
    """What a LabelError is made of, which adds up over slices.

    counts_4: tp, fp, fn, tn in pixels.
    distance: sum of the distances from boundary pixels, in pixels.
    boundary: number of these pixels.
    """

    counts_4: np.ndarray
    distance: float
    boundary: float

    def mixed(self, other: "ErrorSums", share: float) -> "ErrorSums":
        """Return the expected sums where a share of the slices is ours and the rest the other's."""
        return ErrorSums(
            share * self.counts_4 + (1 - share) * other.counts_4,
            share * self.distance + (1 - share) * other.distance,
            share * self.boundary + (1 - share) * other.boundary,
        )

    def error(self) -> LabelError:
        """Return the LabelError of all slices together."""
        return LabelError(
            label_dice=float(dice(self.counts_4)),
            precision=float(precision(self.counts_4)),
            recall=float(recall(self.counts_4)),
            volume_ratio=float(volume_ratio(self.counts_4)),
            surface_distance=self.distance / self.boundary if self.boundary else float("nan"),
        )


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
    return measure_sums(reference_NHW, perturbed_NHW).error()


def measure_sums(reference_NHW: Iterable, perturbed_NHW: Iterable) -> ErrorSums:
    """Return the sums of `measure`, whose arguments these are."""
    counts_4, distance, boundary = np.zeros(4, np.int64), 0.0, 0
    for reference_HW, perturbed_HW in zip(reference_NHW, perturbed_NHW, strict=True):
        counts_4 += overlap(reference_HW, perturbed_HW)
        distances_B = surface_distances(reference_HW, perturbed_HW)
        distance += float(distances_B.sum())
        boundary += len(distances_B)
    return ErrorSums(counts_4, distance, boundary)


def surface_distances(reference_HW: np.ndarray, perturbed_HW: np.ndarray) -> np.ndarray:
    """Return the distance from each boundary pixel of either mask to the nearest of the other.

    Returns:
        (B,) distances in pixels, those from the reference first; empty where either mask is empty.
    """
    reference_B2, perturbed_B2 = boundary_pixels(reference_HW), boundary_pixels(perturbed_HW)
    if len(reference_B2) == 0 or len(perturbed_B2) == 0:
        return np.zeros(0)
    # Nearest neighbours cost by the length of the boundary, a distance transform by the area of the
    # slice.
    from_reference_B, _ = KDTree(perturbed_B2).query(reference_B2)
    from_perturbed_B, _ = KDTree(reference_B2).query(perturbed_B2)
    return np.concatenate([from_reference_B, from_perturbed_B])


def boundary_pixels(mask_HW: np.ndarray) -> np.ndarray:
    """Return the foreground pixels with a 4-neighbour in the background or off the slice.

    Returns:
        (B, 2) rows and columns.
    """
    padded = np.pad(mask_HW.astype(bool), 1)
    inner = padded[1:-1, 1:-1]
    enclosed = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.argwhere(inner & ~enclosed)
