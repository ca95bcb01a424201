"""How people who outlined the same objects differ, in numbers.

Displacements are taken along the normals of the object's consensus, from what each rater holds
within a limited depth on either side. Where an object is concave, its outline is still crossed
once, and nothing counts for more than the depth. Each object has one vote in every mean, whatever
its size: no large or disputed object speaks for the others.

Shape legend: R raters, P pairs of raters, Z slices, H height, W width, S slices that are measured,
T places along an outline, D depths along a normal, O objects, K statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from labelnoise.labels.contours import find_contours

PLACES = 64
FINE = 8  # places between two of these, which a pixel's steps are smoothed over
DEPTH = 0.6  # of a slice's radius, on either side of its outline
LEAST_PIXELS = 30  # of the consensus in a slice whose outline is measured


class Statistic(NamedTuple):
    """A statistic of raters.

    Attributes:
        words: what it is.
        goal: how far simulated raters may be from it; None where no goal is set.
    """

    words: str
    goal: float | None = None


STATISTICS = {
    "dice_25": Statistic("pair Dice, first quartile", 0.02),
    "dice_50": Statistic("pair Dice, median", 0.02),
    "dice_75": Statistic("pair Dice, third quartile", 0.02),
    "offset": Statistic("offset, share of variance", 0.07),
    "lag_1": Statistic("correlation along the outline, 5.6 degrees", 0.07),
    "lag_4": Statistic("correlation along the outline, 22.5 degrees", 0.07),
    "lag_8": Statistic("correlation along the outline, 45 degrees", 0.07),
    "lag_16": Statistic("correlation along the outline, 90 degrees", 0.07),
    "next_slice": Statistic("correlation with the next slice", 0.08),
    "whole_offset": Statistic("offset of the whole object, share of variance"),
    "ends": Statistic("slices of one rater alone, share"),
    "size": Statistic("volume against that of their consensus, logarithm"),
    "drift": Statistic("volume of their consensus against that simulated around, logarithm"),
    "log_mm": Statistic("difference in mm, mean logarithm"),
    "log_slope": Statistic("difference in mm, power of the radius"),
}
# Steps along the outline, of PLACES: of a round object 5.6, 22.5, 45 and 90 degrees.
LAGS = (1, 4, 8, 16)
# What every object has of its own; quartiles and the power of the radius come from all together.
OF_OBJECTS = list(STATISTICS)[3:-1]


@dataclass(frozen=True)
class Outlined:
    """One object as several people outlined it.

    Attributes:
        name: of the object.
        masks_RZHW: bool, none of them empty.
        spacing_3: distance of slices, rows and columns in mm; that of slices is NaN for one slice.
    """

    name: str
    masks_RZHW: np.ndarray
    spacing_3: tuple[float, float, float]

    @cached_property
    def consensus_ZHW(self) -> np.ndarray:
        """The raters' consensus, bool: the majority of an odd number of them.

        Of an even number, where the median of signed distances is lowest, and of equal ones their
        mean: as many voxels as the majority has if half of those that halve the raters are its.
        """
        from scipy import ndimage

        if len(self.masks_RZHW) % 2:
            return self.masks_RZHW.sum(axis=0) > len(self.masks_RZHW) / 2
        spacing_3 = np.nan_to_num(self.spacing_3, nan=1e3)
        # Beyond the crop nobody outlined anything.
        padded_RZHW = np.pad(self.masks_RZHW, ((0, 0), (1, 1), (1, 1), (1, 1)))
        distances_RZHW = [
            ndimage.distance_transform_edt(~mask_ZHW, spacing_3)
            - ndimage.distance_transform_edt(mask_ZHW, spacing_3)
            for mask_ZHW in padded_RZHW
        ]
        median_ZHW = np.median(distances_RZHW, axis=0)[1:-1, 1:-1, 1:-1]
        median_ZHW += 1e-3 * np.mean(distances_RZHW, axis=0)[1:-1, 1:-1, 1:-1]
        number = max(round(volumes(self.masks_RZHW)[1]), 1)
        inside = np.zeros(median_ZHW.shape, bool)
        inside.reshape(-1)[np.argsort(median_ZHW, axis=None, kind="stable")[:number]] = True
        return inside


class Differences(NamedTuple):
    """What the pairs of raters of one object tell.

    dice_P: Dice of each pair.
    values: {name in OF_OBJECTS: value}, NaN where the object does not tell.
    radius: mm.
    """

    dice_P: np.ndarray
    values: dict[str, float]
    radius: float


class Outline:
    """Normals along the outline of a consensus, on which the displacement of any mask is measured.

    The outline is that of the largest part of every slice with LEAST_PIXELS pixels, without holes,
    smoothed by the steps of pixels; places are equally spaced along it.
    """

    def __init__(self, consensus_ZHW: np.ndarray, spacing_3: Sequence[float]):
        """Trace the outlines.

        Args:
            consensus_ZHW: bool.
            spacing_3: distance of slices, rows and columns in mm.
        """
        row, column = spacing_3[1:]
        pixels_Z = np.count_nonzero(consensus_ZHW, axis=(1, 2))
        self.slices_S = np.flatnonzero(pixels_Z >= LEAST_PIXELS)
        self._rays = []
        points_ST2 = np.empty((len(self.slices_S), PLACES, 2))
        for points_T2, position in zip(points_ST2, self.slices_S, strict=True):
            mask_HW = consensus_ZHW[position]
            points_T2[:], normals_T2 = _trace(mask_HW, (row, column))
            depth = DEPTH * np.sqrt(pixels_Z[position] * row * column / np.pi)
            steps = 4 * int(np.ceil(depth / min(row, column)))  # of half a pixel or less
            along_D = depth * ((2 * np.arange(steps) + 1) / steps - 1)
            at_TD2 = points_T2[:, None] + along_D[:, None] * normals_T2[:, None]
            rows, columns = np.rint(at_TD2 / (row, column)).astype(int).transpose(2, 0, 1)
            rows, columns = rows.clip(0, len(mask_HW) - 1), columns.clip(0, mask_HW.shape[1] - 1)
            self._rays.append((rows * mask_HW.shape[1] + columns, 2 * depth / steps))
        # The place in the next slice that is nearest to each one, where there is a next slice.
        self.pairs = [
            (at, np.hypot(*(there[:, None] - here).T).argmin(axis=1))
            for at, (here, there) in enumerate(pairwise(points_ST2))
            if self.slices_S[at + 1] == self.slices_S[at] + 1
        ]

    def displacement(self, mask_ZHW: np.ndarray) -> np.ndarray:
        """Return how many mm outwards a mask reaches at every place.

        Returns:
            (S, T) float64, NaN in slices that the mask leaves out.
        """
        found_ST = np.full((len(self.slices_S), PLACES), np.nan)
        for found_T, position, (pixels_TD, step) in zip(
            found_ST, self.slices_S, self._rays, strict=True
        ):
            mask_HW = mask_ZHW[position]
            if mask_HW.any():
                held_T = np.count_nonzero(mask_HW.reshape(-1)[pixels_TD], axis=1)
                found_T[:] = (held_T - pixels_TD.shape[1] / 2) * step
        return found_ST


def _trace(mask_HW, pixel_2):
    """Return places along the outline of the largest part of a mask, and normals outwards.

    Returns:
        (T, 2) mm from the centre of the first pixel, (T, 2) of length 1.
    """
    from scipy import ndimage

    parts_HW, _ = ndimage.label(mask_HW, np.ones((3, 3)))
    largest = 1 + np.bincount(parts_HW.ravel())[1:].argmax()
    contours = find_contours(ndimage.binary_fill_holes(parts_HW == largest).astype(np.uint8))
    outer_P2 = contours.points_P2[contours.contour_P == np.bincount(contours.contour_P).argmax()]
    outer_P2 = outer_P2 * pixel_2
    walked_P = np.append(0, np.hypot(*np.diff(outer_P2, axis=0).T).cumsum())
    at = np.arange(PLACES * FINE) * walked_P[-1] / (PLACES * FINE)
    fine = np.stack([np.interp(at, walked_P, axis_P) for axis_P in outer_P2.T], axis=1)
    width = 1.5 * np.mean(pixel_2) / at[1]
    fine = ndimage.gaussian_filter1d(fine, width, axis=0, mode="wrap")
    following, preceding = np.roll(fine, -FINE // 2, axis=0), np.roll(fine, FINE // 2, axis=0)
    tangent = following - preceding
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    y, x = fine.T
    turns = np.sign((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())
    return fine[::FINE], turns * normal[::FINE]


def radius_of(mask_ZHW: np.ndarray, spacing_3: Sequence[float]) -> float:
    """Return the radius in mm of the ball, or of one slice the disc, of a mask's size."""
    between, row, column = spacing_3
    if np.isnan(between):
        return float(np.sqrt(np.count_nonzero(mask_ZHW) * row * column / np.pi))
    return float(np.cbrt(np.count_nonzero(mask_ZHW) * between * row * column * 3 / (4 * np.pi)))


def compare(
    masks_RZHW: np.ndarray,
    consensus_ZHW: np.ndarray,
    outline: Outline,
    radius: float,
    people: int,
) -> Differences:
    """Return how the raters of one object differ.

    Differences of displacement d are those of two raters at a place. Their offset is the mean of d
    over a slice (`offset`) or over all slices (`whole_offset`), its share that of its square in the
    mean square of d. What is left after the offset of the slice is correlated along the outline and
    with the nearest place in the next slice. For volumes, raters are taken `people` at a time: the
    consensus of many would vary less than theirs.

    Args:
        masks_RZHW: bool, two or more.
        consensus_ZHW: bool, on the same grid.
        outline: that of the consensus.
        radius: mm, of the consensus.
        people: how many raters make a consensus; of fewer, those that there are.
    """
    filled_RZ = np.any(masks_RZHW, axis=(2, 3))
    size_R = np.count_nonzero(masks_RZHW, axis=(1, 2, 3))
    shift_RST = np.stack([outline.displacement(mask_ZHW) for mask_ZHW in masks_RZHW])
    dice_P, alone_P, parts = [], [], []
    for a, b in combinations(range(len(masks_RZHW)), 2):
        common = np.count_nonzero(masks_RZHW[a] & masks_RZHW[b])
        dice_P.append(2 * common / max(size_R[a] + size_R[b], 1))
        alone = np.count_nonzero(filled_RZ[a] ^ filled_RZ[b])
        alone_P.append(alone / max(int(np.count_nonzero(filled_RZ[a] | filled_RZ[b])), 1))
        parts.append(_parts(shift_RST[a] - shift_RST[b], outline.pairs))
    people = min(people, len(masks_RZHW))
    groups = [
        volumes(masks_RZHW[first : first + people])
        for first in range(0, len(masks_RZHW) - people + 1, people)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        size, agreed = np.mean(np.log(groups), axis=0)
        total = np.sum(parts, axis=0)
        number, square, whole, sliced, left, here, there, next_slice, *lagged = total
        values = {
            "offset": sliced / square,
            **{f"lag_{step}": value / left for step, value in zip(LAGS, lagged, strict=True)},
            "next_slice": next_slice / np.sqrt(here * there),
            "whole_offset": whole / square,
            "ends": np.mean(alone_P),
            "size": size - agreed,
            "drift": agreed - np.log(np.count_nonzero(consensus_ZHW)),
            "log_mm": np.log(square / number) / 2 if square else np.nan,
        }
    return Differences(np.array(dice_P), {key: float(x) for key, x in values.items()}, radius)


def volumes(masks_RZHW: np.ndarray) -> tuple[float, float]:
    """Return in voxels the geometric mean of raters' volumes, and the volume of their consensus.

    Where as many are for a voxel as against it, half of it counts.
    """
    votes_ZHW = np.add.reduce(masks_RZHW, axis=0, dtype=np.uint8)
    sizes_R = np.count_nonzero(masks_RZHW, axis=(1, 2, 3))
    half = len(masks_RZHW) / 2
    agreed = (np.count_nonzero(votes_ZHW > half) + np.count_nonzero(votes_ZHW >= half)) / 2
    return float(np.exp(np.log(sizes_R[sizes_R > 0]).mean())), agreed


def _parts(d_ST, pairs):
    """Return the sums over places that the statistics of a pair of raters are ratios of."""
    kept_S = np.isfinite(d_ST[:, 0]) if len(d_ST) else np.zeros(0, bool)
    if not kept_S.any():
        return np.zeros(8 + len(LAGS))
    mean_S1 = d_ST.mean(axis=1, keepdims=True)
    left_ST = d_ST - mean_S1
    kept_ST, rest_ST = d_ST[kept_S], left_ST[kept_S]
    both = [
        (left_ST[at], left_ST[at + 1, nearest_T])
        for at, nearest_T in pairs
        if kept_S[at] and kept_S[at + 1]
    ]
    return np.array(
        [
            kept_ST.size,
            (kept_ST**2).sum(),
            kept_ST.mean() ** 2 * kept_ST.size,
            (mean_S1[kept_S] ** 2).sum() * PLACES,
            (rest_ST**2).sum(),
            sum((here_T**2).sum() for here_T, _ in both),
            sum((there_T**2).sum() for _, there_T in both),
            sum((here_T * there_T).sum() for here_T, there_T in both),
            *((rest_ST * np.roll(rest_ST, -step, axis=1)).sum() for step in LAGS),
        ]
    )


def summarise(objects: Sequence[Differences]) -> np.ndarray:
    """Return the statistics of all objects together, (K,) in the order of STATISTICS.

    Quartiles are those of all pairs; other statistics are means over objects, and the power of the
    radius is the slope of a line through them. NaN where no object tells.
    """
    if not objects:
        return np.full(len(STATISTICS), np.nan)
    dice = np.quantile(np.concatenate([each.dice_P for each in objects]), [0.25, 0.5, 0.75])
    values_OK = np.array([[each.values[name] for name in OF_OBJECTS] for each in objects])
    told_OK = np.isfinite(values_OK)
    sums_K = np.where(told_OK, values_OK, 0).sum(axis=0)
    number_K = told_OK.sum(axis=0)
    means_K = np.where(number_K > 0, sums_K / np.maximum(number_K, 1), np.nan)
    told_O = told_OK[:, -1]
    radius_O = np.log([each.radius for each in objects])[told_O]
    slope = np.nan
    if len(radius_O) > 2 and np.ptp(radius_O) > 0.1:
        slope = np.polyfit(radius_O, values_OK[told_O, -1], 1)[0]
    return np.array([*dice, *means_K, slope])
