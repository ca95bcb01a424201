"""Label errors: natural, choppy and random, as functions from a binary mask to a wrong one.

Shape legend: N slices, H height, W width, K contours, P contour points, R runs of foreground.

The three kinds are those of Heller, Dean and Papanikolopoulos, "Imperfect Segmentation Labels: How
Much Do They Matter?", 2018 (arXiv 1806.04618), section 2. "The 2018 code" is neheller/labels18,
`preprocessing/tools.py`; where it has a defect we differ, and the docstring says so. For every
kind severity 0 is the identity, the input is never changed, and any slice size, empty slices,
several objects, holes and objects at the edge work.
"""

from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from labelnoise.errors import InputError
from labelnoise.labels.contours import Contours, bounding_box, fill, find_contours, paint_runs
from labelnoise.labels.own_kind import perturb_own
from labelnoise.own_code import is_own, load_own

KINDS = ("control", "natural", "choppy", "random")

KNOTS = 5  # independent displacements of a contour, as in the 2018 code
# Bytes of outlines that `KeptOutlines` keeps: those of some thousand slices of 512 pixels.
KEPT_BYTES = 128 * 1024**2


class Outlines(NamedTuple):
    """What `natural` needs of a mask, whatever it draws.

    contours: of the mask, which is not empty.
    rays_P2: from the centre of each contour's bounding box to its points.
    length_P: of the rays, in pixels.
    interval_P, along_P: between which of a contour's KNOTS draws each point lies, and how far along
        from one to the next, 0 to 1.
    """

    contours: Contours
    rays_P2: np.ndarray
    length_P: np.ndarray
    interval_P: np.ndarray
    along_P: np.ndarray


class KeptOutlines:
    """Outlines of masks that are drawn again and again, found once and kept while there is room."""

    def __init__(self, room: int = KEPT_BYTES) -> None:
        """Keep up to so many bytes."""
        self._kept: dict[Hashable, Outlines] = {}
        self._room = room

    def of(self, key: Hashable, mask_HW: np.ndarray, kind: str) -> Outlines | None:
        """Return the outlines of a mask, which the key stands for, where a kind needs any.

        None where it does not, or the mask is empty.
        """
        if kind != "natural":
            return None
        if key in self._kept:
            return self._kept[key]
        if not mask_HW.any():
            return None
        outlines = trace(mask_HW)
        arrays = (*outlines.contours, *outlines[1:])
        self._room -= sum(array.nbytes for array in arrays)
        if self._room >= 0:
            self._kept[key] = outlines
        return outlines


def perturb(
    mask_HW: np.ndarray,
    kind: str,
    severity: float,
    rng: np.random.Generator,
    foreground_fraction: float | None = None,
    outlines: Outlines | None = None,
) -> np.ndarray:
    """Perturb one binary mask by the named kind of label error.

    Args:
        mask_HW: binary mask, uint8 in {0, 1}.
        kind: one of KINDS, or a function of the user's own, see `perturb_own`; `control` returns a
            copy whatever the severity.
        severity: standard deviation in pixels (natural, choppy) or flip probability (random).
        rng: NumPy generator; the caller owns the seed.
        foreground_fraction: share of foreground pixels in the dataset, for `random` alone.
        outlines: those of the mask, for `natural` alone, see there.

    Returns:
        A new mask of the same shape, uint8 in {0, 1}.

    Raises:
        InputError: what is given is no mask, no severity or no kind, or see `random` and
            `perturb_own`.
    """
    if kind == "control":
        _check(mask_HW, 0)
        return mask_HW.copy()
    if kind == "natural":
        return natural(mask_HW, severity, rng, outlines)
    if kind == "choppy":
        return choppy(mask_HW, severity, rng)
    if kind == "random":
        return random(mask_HW, severity, rng, foreground_fraction)
    if is_own(kind):
        _check(mask_HW, severity)
        return perturb_own(mask_HW, kind, severity, rng)
    raise InputError(f"perturbation kind {kind!r} is unknown: choose one of {', '.join(KINDS)}.")


def _check(mask_HW, severity):
    """Refuse what is no mask, or no severity; the time that takes is small beside any kind's."""
    is_mask = isinstance(mask_HW, np.ndarray) and mask_HW.ndim == 2 and mask_HW.dtype.kind in "bui"
    if not is_mask:
        found = type(mask_HW).__name__
        if isinstance(mask_HW, np.ndarray):
            found = f"an array {mask_HW.shape} of {mask_HW.dtype}"
        raise InputError(
            f"the mask is {found}, expected an array (height, width) of whole numbers 0 and 1 or "
            "truth values; `labelnoise.perturb` takes volumes and any labels."
        )
    high = mask_HW.max(initial=0)
    low = mask_HW.min(initial=0) if mask_HW.dtype.kind == "i" else 0
    if low < 0 or high > 1:
        raise InputError(
            f"the mask holds {high if high > 1 else low}, expected 0 and 1 alone; "
            "`labelnoise.perturb` takes any labels."
        )
    if not 0 <= severity < np.inf:
        raise InputError(f"the severity is {severity}, expected a finite number of at least 0.")


def natural(
    mask_HW: np.ndarray,
    severity: float,
    rng: np.random.Generator,
    outlines: Outlines | None = None,
) -> np.ndarray:
    """Displace each contour by a smooth closed curve, as an annotator's outline strays.

    A contour moves along the rays from the centre of its own bounding box. Its displacement is the
    periodic cubic spline through 5 draws of N(0, severity), equally spaced along the contour's
    length. Each contour is refilled by the even-odd rule on pixel centres; holes are cut out of
    their own object, and overlapping objects merge.

    The severity holds at the 5 draws; over the whole contour the displacement's root mean square is
    0.94 of it, half way between two draws 0.87. The first draw is always at the topmost row of an
    object, the others follow at fifths of the contour: every slice and every draw errs most at the
    same places, by 15 % more than between them. Rays meet elongated objects aslant: an ellipse with
    half axes of 45 and 12 px moves by 0.66 of the severity at right angles to its outline, 0.43 at
    the least. Edges along rows and columns stay until they move by half a pixel: the mean shift of
    a disc of radius 40 px is 0.73 of severities from 1 on, but 0.34 of 0.3 and 0.10 of 0.2.

    Objects grow, since outward counts for more area than inward, small ones most: at a severity of
    2 a disc of radius 24 px by 0.5 %, one of 8 px by 5 %, one of 4 px by 20 % and one of 3 px by
    28 %; at 5 one of 16 px by 8 %, one of 8 px by 28 % and one of 4 px by 54 %.

    Unlike the 2018 code: contours are sub-pixel (it cut points to whole pixels), holes stay holes,
    the curve closes smoothly, and a displacement is limited to the length of its ray, so that a
    point moves no further than the centre and no further out than twice its distance (there a disc
    of radius 3 px grows without bound). Severity is a standard deviation where the 2018 code stores
    the variance.

    Args:
        mask_HW: binary mask, uint8 in {0, 1}.
        severity: standard deviation of the displacement in pixels, at least 0.
        rng: NumPy generator.
        outlines: what `trace` finds in the mask, where it is known, which takes most of the time.

    Returns:
        A new mask, uint8 in {0, 1}.

    Raises:
        InputError: what is given is no mask, or no severity.
    """
    _check(mask_HW, severity)
    if severity == 0 or not mask_HW.any():
        return mask_HW.copy()
    outlines = outlines or trace(mask_HW)
    draws_K5 = rng.normal(0, severity, (len(outlines.contours.starts_K), KNOTS))
    return fill(outlines.contours, _displace(outlines, draws_K5), mask_HW.shape)


def choppy(mask_HW: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Move both ends of every run of foreground in every row, independently: jagged edges.

    A run's ends are pixel borders; a pixel is foreground where its centre lies in a moved run. So
    an end moves by N(0, severity) rounded to whole pixels. Overlapping runs merge, runs are clipped
    at the slice's borders, and a run whose ends meet or cross vanishes.

    Unlike the 2018 code: every row is perturbed (there the first and last 50 of a bundle of 20
    slices stay clean), runs at the right edge and beyond the fifth in a row work, no two ends share
    an offset, and offsets are rounded to the nearest pixel, where rounding up shifted every mask by
    half a pixel.

    Args:
        mask_HW: binary mask, uint8 in {0, 1}.
        severity: standard deviation of an end's offset in pixels, at least 0.
        rng: NumPy generator.

    Returns:
        A new mask, uint8 in {0, 1}.

    Raises:
        InputError: what is given is no mask, or no severity.
    """
    _check(mask_HW, severity)
    if severity == 0 or not mask_HW.any():
        return mask_HW.copy()
    width = mask_HW.shape[1]
    row_R, ends_R2 = _runs(mask_HW)
    # Offsets beyond the width all clip alike; limiting them first keeps the sum within whole-number
    # range.
    offsets_R2 = np.clip(rng.normal(0, severity, ends_R2.shape), -width - 1, width + 1)
    moved_R2 = np.clip(ends_R2 + np.rint(offsets_R2).astype(np.intp), 0, width)
    kept = moved_R2[:, 0] < moved_R2[:, 1]
    moved_R2 = moved_R2[kept] + row_R[kept, None] * width
    return paint_runs(moved_R2[:, 0], moved_R2[:, 1], mask_HW.shape)


def random(
    mask_HW: np.ndarray,
    severity: float,
    rng: np.random.Generator,
    foreground_fraction: float | None,
) -> np.ndarray:
    """Flip foreground with probability p, background with p f / (1 - f): salt and pepper.

    As many background as foreground pixels flip on average over a dataset with foreground fraction
    f, so its class balance holds and its label Dice is 1 - p.

    Args:
        mask_HW: binary mask, uint8 in {0, 1}.
        severity: p, in [0, 1].
        rng: NumPy generator.
        foreground_fraction: f, share of foreground pixels in the dataset, in [0, 1).

    Returns:
        A new mask, uint8 in {0, 1}.

    Raises:
        InputError: what is given is no mask or no probability, f is missing or out of range, or
            p f / (1 - f) is above 1.
    """
    _check(mask_HW, severity)
    if severity > 1:
        raise InputError(f"random: the severity is {severity}, a probability, expected at most 1.")
    background_rate = flip_rate(severity, foreground_fraction)
    noisy_HW = np.array(mask_HW, order="C")  # reshape(-1) below must be a view
    if severity == 0:
        return noisy_HW
    noisy, mask = noisy_HW.reshape(-1), mask_HW.reshape(-1)
    foreground = np.flatnonzero(mask.astype(bool))  # far faster than on whole numbers
    noisy[foreground[_choose(len(foreground), severity, rng)]] = 0
    # Choosing among all pixels and keeping the background gives each background pixel the same
    # probability.
    chosen = _choose(mask.size, background_rate, rng)
    noisy[chosen[mask[chosen] == 0]] = 1
    return noisy_HW


def flip_rate(severity: float, foreground_fraction: float | None) -> float:
    """Return the probability p f / (1 - f) that a background pixel flips under `random`.

    Raises:
        InputError: f is missing or out of range, or the probability is above 1.
    """
    if foreground_fraction is None or not 0 <= foreground_fraction < 1:
        raise InputError(
            f"random: foreground fraction is {foreground_fraction}, expected a share from 0 to "
            "below 1."
        )
    rate = severity * foreground_fraction / (1 - foreground_fraction)
    if rate > 1 + 1e-9:  # a severity at the limit may round up
        raise InputError(
            f"random: with foreground fraction {foreground_fraction:.4g} and severity "
            f"{severity:.4g} background would flip with probability {rate:.4g}, above 1; lower the "
            f"severity to at most {severity / rate:.4g}."
        )
    return min(rate, 1.0)


def draw_labels(
    labels_NHW: np.ndarray,
    kind: str,
    severities: Mapping[int, float],
    foreground_fractions: Mapping[int, float],
    seed: int,
    draw: int,
    rows: Sequence[int] | np.ndarray,
    code: str | None = None,
    kept: KeptOutlines | None = None,
) -> np.ndarray:
    """Perturb the labels of some slices: one draw, each slice from a generator of its own.

    The generator of a slice depends on (seed, draw, row) alone, so any slice of any draw can be
    made alone, in any order. Each structure is perturbed as a binary mask; a pixel goes to the
    highest class index that claims it.

    Args:
        labels_NHW: class indices, uint8, 0 = background: the slices of `rows`, in the same order.
        kind: one of KINDS, or a function of the user's own.
        severities: {class index: severity} for every class index from 1 on; not used by `control`.
        foreground_fractions: {class index: foreground fraction}, used by `random` alone.
        seed: label seed, an integer of at least 0.
        draw: index of the draw, from 0.
        rows: each slice's row in the dataset file.
        code: the digest that the user's own code must have, see `load_own`.
        kept: outlines of these labels from earlier draws; it takes those of this one.

    Returns:
        Perturbed class indices, uint8, shape of labels_NHW.

    Raises:
        ValueError: a class in the labels has no severity, or labels and rows differ in number.
        InputError: see `perturb`.
    """
    if kind == "control":
        return labels_NHW.copy()
    if is_own(kind):
        load_own(kind, code)
    perturbed_NHW = np.zeros_like(labels_NHW)
    for labels_HW, perturbed_HW, row in zip(labels_NHW, perturbed_NHW, rows, strict=True):
        rng = np.random.default_rng(np.random.SeedSequence([int(seed), int(draw), int(row)]))
        if not set(range(1, int(labels_HW.max()) + 1)) <= set(severities):
            raise ValueError(
                f"row {row}: labels up to {labels_HW.max()}, severities for {severities}"
            )
        for index in sorted(severities):
            mask_HW = (labels_HW == index).view(np.uint8)
            fraction = foreground_fractions.get(index) if kind == "random" else None
            outlines = kept.of((int(row), index), mask_HW, kind) if kept else None
            wrong_HW = perturb(mask_HW, kind, severities[index], rng, fraction, outlines)
            np.putmask(perturbed_HW, wrong_HW, index)
    return perturbed_NHW


def trace(mask_HW: np.ndarray) -> Outlines:
    """Return the outlines of a mask that is not empty."""
    contours = find_contours(mask_HW)
    points_P2, starts_K, contour_P, _, _ = contours
    low_K2 = np.minimum.reduceat(points_P2, starts_K)
    high_K2 = np.maximum.reduceat(points_P2, starts_K)
    rays_P2 = points_P2 - ((low_K2 + high_K2) / 2)[contour_P]
    length_P = np.maximum(np.hypot(rays_P2[:, 0], rays_P2[:, 1]), 1e-9)
    position_P = _position(contours)
    interval_P = np.minimum(position_P.astype(np.intp), KNOTS - 1)
    return Outlines(contours, rays_P2, length_P, interval_P, position_P - interval_P)


def _displace(outlines, draws_K5):
    """Move points along the rays from their contour's centre, by the spline through its draws."""
    points_P2, starts_K, _, _, _ = outlines.contours
    # |shift| is limited to the ray's length, so the factor lies between 0 (the centre) and 2.
    factor_P = np.clip(1 + _spline(draws_K5, outlines) / outlines.length_P, 0, 2)
    moved_P2 = points_P2 + outlines.rays_P2 * (factor_P - 1)[:, None]
    ends_K = np.append(starts_K[1:], len(points_P2)) - 1
    moved_P2[ends_K] = moved_P2[starts_K]  # closed to the last bit, or filling would leak
    return moved_P2


def _position(contours):
    """Return where each point is along its contour's length, from 0 to KNOTS."""
    points_P2, starts_K, contour_P, _, _ = contours
    steps_P2 = np.diff(points_P2, axis=0, prepend=points_P2[:1])
    walked_P = np.cumsum(np.hypot(steps_P2[:, 0], steps_P2[:, 1]))
    walked_P -= walked_P[starts_K][contour_P]
    ends_K = np.append(starts_K[1:], len(points_P2)) - 1
    return walked_P * (KNOTS / walked_P[ends_K])[contour_P]


@cache
def _coefficients_455():
    """Return the coefficients of the periodic cubic spline, which is linear in its knots' values.

    The axes are power of the polynomial, interval and knot.
    """
    # Here, since every training and test imports this module, and few draw labels.
    from scipy.interpolate import CubicSpline

    values_65 = np.eye(KNOTS)[np.arange(KNOTS + 1) % KNOTS]
    return CubicSpline(np.arange(KNOTS + 1), values_65, bc_type="periodic").c


def _spline(draws_K5, outlines):
    """Evaluate each contour's periodic cubic spline at the places of its points."""
    coefficients_K45 = np.einsum("pik,ck->cpi", _coefficients_455(), draws_K5)
    contour_P, u_P = outlines.contours.contour_P, outlines.along_P
    a, b, c, d = coefficients_K45[contour_P, :, outlines.interval_P].T
    return ((a * u_P + b) * u_P + c) * u_P + d


def _runs(mask_HW):
    """Return rows and half-open column ranges of the runs of foreground, in reading order."""
    rows, _ = bounding_box(mask_HW)
    # A column of background on the left ends each row's last run; the last row's needs one more
    # pixel.
    padded = np.zeros((rows.stop - rows.start, mask_HW.shape[1] + 1), dtype=bool)
    padded[:, 1:] = mask_HW[rows]
    flat = np.append(padded, False)
    borders_R2 = np.flatnonzero(flat[1:] != flat[:-1]).reshape(-1, 2)
    row_R = borders_R2[:, 0] // padded.shape[1]
    return row_R + rows.start, borders_R2 - row_R[:, None] * padded.shape[1]


def _choose(number, probability, rng):
    """Return indices below `number`, each chosen independently with the given probability."""
    # Given their number, independent choices are a sample without replacement: far cheaper than one
    # draw per pixel.
    return rng.choice(number, rng.binomial(number, probability), replace=False, shuffle=False)
