"""How far predicted surfaces lie from the true ones, case by case: HD95 and surface Dice (NSD).

Surface elements are those of DeepMind's `surface-distance`, the implementation of Nikolov et al.,
"Clinically Applicable Segmentation of Head and Neck Anatomy for Radiotherapy", JMIR 23(7) (2021)
e26151. One lies at each corner of pixels (voxels) that are not all inside or all outside. Its size
is the length (area) of the surface that runs between them there, its distance that to the nearest
corner with an element of the other mask. Beyond the edge of a slice or volume all is background.

Shape legend: N slices asked for, S slices of a case, C classes, H height, W width, E elements.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from surface_distance import compute_surface_distances

from labelnoise.data.storage import Dataset

# Spacings are stored in 32 bits, 0.4 mm as 0.40000001: five pixels must still lie within 2 mm.
ROUNDING = 1e-6
# Sources of whole volumes. The faces of a slab, where it was cut, would always match, and they are
# most of a thin one's surface.
WHOLE = ("volumes", "msd", "dicom")


@dataclass(frozen=True)
class SurfaceScores:
    """Scores of one structure in one case; NaN where neither mask shows it.

    hd95: the distance within which 95 % of either surface, by size, lies from the other one: the
        larger of the two directions' percentiles, 0 or more, in the unit of the spacing.
    surface_dice: the share of both surfaces together, by size, that lies within the tolerance of
        the other one, 0 to 1; also called normalised surface distance or NSD.
    """

    hd95: float
    surface_dice: float


@dataclass(frozen=True)
class Geometry:
    """How the surfaces of a dataset can be compared.

    unit: "mm", or "px" where the size of a pixel is not known.
    volumetric: whether cases are volumes; else each slice is compared alone.
    """

    unit: str
    volumetric: bool


def compare_surfaces(
    reference_SHW: np.ndarray,
    predicted_SHW: np.ndarray,
    spacing_3: ArrayLike,
    tolerance: float,
    volumetric: bool,
) -> SurfaceScores:
    """Compare the surfaces of one structure in one case.

    Where one mask is empty, in the volume or in a slice that is compared alone, every element of
    the other lies as far off as can be, by the diagonal of the volume or slice. So HD95 is the
    diagonal and surface Dice 0 where a whole structure is missed. Slices where both are empty count
    for nothing.

    Args:
        reference_SHW, predicted_SHW: bool, the slices in order.
        spacing_3: distance of slices, rows and columns, above 0; that of slices is used only in
            volumes and may be NaN otherwise.
        tolerance: distance up to which surfaces agree, in the unit of the spacing.
        volumetric: compare one surface in 3-D; else outlines slice by slice in 2-D, whose elements
            are pooled over the slices before the percentile or share is taken.

    Returns:
        SurfaceScores, both NaN where both masks are empty everywhere.

    Raises:
        ValueError: the masks differ in shape or are not bool.
    """
    if reference_SHW.shape != predicted_SHW.shape:
        raise ValueError(f"masks of shapes {reference_SHW.shape} and {predicted_SHW.shape}")
    spacing_3 = np.asarray(spacing_3, np.float64)
    if volumetric:
        compared = [_elements(reference_SHW, predicted_SHW, spacing_3)]
    else:
        pairs = zip(reference_SHW, predicted_SHW, strict=True)
        compared = [_elements(*masks, spacing_3[1:]) for masks in pairs]
    directions = [np.concatenate(parts, axis=1) for parts in zip(*compared, strict=True)]
    if not any(elements_2E.size for elements_2E in directions):
        return SurfaceScores(float("nan"), float("nan"))
    return SurfaceScores(
        hd95=max(_percentile(*elements_2E) for elements_2E in directions if elements_2E.size),
        surface_dice=_share_within(tolerance, *np.concatenate(directions, axis=1)),
    )


def _elements(reference, predicted, spacing):
    """Return distances and sizes (2, E) of the elements of two masks, the reference's first."""
    if reference.any() and predicted.any():
        found = compute_surface_distances(reference, predicted, spacing)
        return (
            np.stack([found["distances_gt_to_pred"], found["surfel_areas_gt"]]),
            np.stack([found["distances_pred_to_gt"], found["surfel_areas_pred"]]),
        )
    # The library has no distance for these. Corners lie on the very edge of the outer pixels.
    diagonal = np.linalg.norm(reference.shape * spacing)
    sizes = [
        compute_surface_distances(mask, mask, spacing)["surfel_areas_gt"]
        for mask in (reference, predicted)
    ]
    return tuple(np.stack([np.full(len(sizes_E), diagonal), sizes_E]) for sizes_E in sizes)


def _percentile(distances_E, sizes_E):
    """Return the smallest of the distances within which 95 % of the size lies."""
    order_E = np.argsort(distances_E)
    within_E = np.cumsum(sizes_E[order_E])
    needed = 0.95 * within_E[-1] * (1 - ROUNDING)
    return float(distances_E[order_E[np.searchsorted(within_E, needed)]])


def _share_within(tolerance, distances_E, sizes_E):
    within_E = distances_E <= tolerance * (1 + ROUNDING)
    return float(sizes_E[within_E].sum() / sizes_E.sum())


def geometry(data: Dataset, rows: Sequence[int] | np.ndarray) -> Geometry:
    """Return how the surfaces of a dataset's cases can be compared.

    Args:
        data: the dataset.
        rows: (N,) rows of the slices that shall be compared, in any order.

    Returns:
        Unit "mm" where the spacing of rows and columns is known for every slice, else "px". Cases
        are volumes where that of slices is known as well, the source has whole volumes, and every
        case has two or more slices without a gap in their numbers.
    """
    spacing_N3 = data.spacing[rows]
    known_N3 = np.isfinite(spacing_N3) & (spacing_N3 > 0)
    if not known_N3[:, 1:].all():
        return Geometry("px", False)
    numbers_N = data.slice[rows]
    cases = _positions(data, rows).values()
    whole = data.provenance.get("source") in WHOLE
    whole &= all(_is_gapless(numbers_N[positions_S]) for positions_S in cases)
    return Geometry("mm", bool(known_N3[:, 0].all()) and whole)


def surface_table(
    data: Dataset,
    rows: Sequence[int] | np.ndarray,
    predicted_NCHW: np.ndarray,
    tolerances: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Compare predicted with reference surfaces; one case at a time is in memory.

    Args:
        data: the dataset, whose reference labels are read.
        rows: (N,) rows of the slices, in any order; all slices of a case are compared together.
        predicted_NCHW: bool, for each of these rows where each class is predicted, the background
            (index 0) included but not used.
        tolerances: {structure: distance up to which surfaces agree}, "*" for those not listed; in
            mm, or in pixels where the dataset's spacing is not known.

    Returns:
        One row per case and structure, cases in the order of their first rows: case, class_index,
        structure, unit, volumetric (`Geometry`), tolerance, hd95, surface_dice (`SurfaceScores`).

    Raises:
        ValueError: the predictions are not of the shape of these rows.
        InputError: the labels cannot be read.
    """
    expected = (len(rows), len(data.class_names), *data.shape)
    if predicted_NCHW.shape != expected:
        raise ValueError(f"predictions of shape {predicted_NCHW.shape}, expected {expected}")
    rows_N, common = np.asarray(rows), geometry(data, rows)
    lines = []
    for case, positions_S in _positions(data, rows).items():
        rows_S = rows_N[positions_S]
        labels_SHW = data.read_labels(rows_S)
        spacing_3 = data.spacing[rows_S[0]] if common.unit == "mm" else np.ones(3)
        for index, structure in enumerate(data.class_names[1:], start=1):
            tolerance = tolerances.get(structure, tolerances["*"])
            predicted_SHW = predicted_NCHW[positions_S, index]
            scores = compare_surfaces(
                labels_SHW == index, predicted_SHW, spacing_3, tolerance, common.volumetric
            )
            line = {"case": case, "class_index": index, "structure": structure}
            line |= {**asdict(common), "tolerance": tolerance, **asdict(scores)}
            lines.append(line)
    return lines


def _positions(data, rows):
    """Map each case to where its rows stand in `rows`, in the order of their slice numbers."""
    found = {}
    for position, row in enumerate(rows):
        found.setdefault(str(data.case[row]), []).append(position)
    return {
        case: sorted(positions, key=lambda position: data.slice[rows[position]])
        for case, positions in found.items()
    }


def _is_gapless(numbers_S):
    return len(numbers_S) > 1 and bool((np.diff(numbers_S) == 1).all())
