"""Calibration: the severity at which a kind of label error has the wanted label Dice on a dataset.

A severity in pixels means something else on every organ and slice size; label Dice does not. Shape
legend: N slices, H height, W width, D draws; the 4 counts are those of `labelnoise.counts`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil, inf, nan
from types import MappingProxyType
from typing import Protocol

import numpy as np

from labelnoise.counts import dice, overlap
from labelnoise.data.storage import GivenLabels
from labelnoise.errors import InputError
from labelnoise.labels.drawing import (
    CalibratedError,
    Drawer,
    LabelSource,
    Masks,
    Volumes,
    without_share,
)
from labelnoise.labels.error import Overlap
from labelnoise.labels.perturbations import KeptOutlines, flip_rate, perturb
from labelnoise.own_code import is_own
from labelnoise.study import Perturbation

# A larger set is represented by this many of its slices with foreground (`random` and kinds of the
# user's own: of all its slices), evenly spaced.
MOST_SLICES = 500
# The first draws hold this many perturbed slices (natural, choppy) ...
ENOUGH_SLICES = 1000
# ... or, for `random`, whose pixels are independent, this many foreground pixels: a standard error
# below 0.001.
ENOUGH_PIXELS = 100_000
# Where they scatter too much, draws are added until the standard error of label Dice is this share
# of the tolerance, so that fresh draws also average within the tolerance of the target.
STANDARD_ERROR = 1 / 3
MOST_DRAWS = 1000
# Of kinds that act on volumes, which take longer and whose cases scatter: the standard error is
# then at most a sixth of what a single draw strays.
MOST_DRAWS_OF_CASES = 40
# Largest accepted difference between achieved and wanted label Dice.
TOLERANCE = 0.002


# The largest severity of a kind whose severity is a probability or a share.
MOST = {"omission": 1.0}


@dataclass(frozen=True)
class Calibration:
    """A calibrated severity and the label error that it gives.

    severity: standard deviation in pixels (natural, choppy) or flip probability (random).
    error: how the labels of all draws together overlap with the reference.
    draws: number of draws, each of all slices, that the severity was solved on.
    draw_sd: standard deviation of label Dice between draws, each of all slices that were tried.
    evaluations: number of severities tried.
    """

    severity: float
    error: Overlap
    draws: int
    draw_sd: float
    evaluations: int


def calibrate(
    masks_NHW: Sequence | np.ndarray,
    kind: str,
    target_dice: float,
    foreground_fraction: float | None,
    seed: int,
    tolerance: float = TOLERANCE,
    share: float = 1.0,
) -> Calibration:
    """Solve for the severity that gives the wanted label Dice, pooled over a set of masks.

    All severities are tried on the same random draws (common random numbers), so label Dice falls
    smoothly with severity, and as many draws are pooled as make the severity a property of the set
    and not of a draw. `random` has a closed form, exact on average, so its label Dice is measured
    but not held against the tolerance. A set of more than MOST_SLICES slices is represented by an
    evenly spaced part.

    Args:
        masks_NHW: binary masks of one structure, uint8 in {0, 1}: an array, or anything with a
            length that gives slice (H, W) by index, so the set need not fit in memory. For `random`
            it includes the empty slices.
        kind: one of perturbations.KINDS, or a function of the user's own; for `control` the target
            is 1.
        target_dice: wanted label Dice, in (0, 1]; 1 gives severity 0.
        foreground_fraction: share of foreground pixels in the dataset, for `random` alone.
        seed: integer of at least 0.
        tolerance: largest accepted difference between achieved and wanted label Dice; draws are
            added until the standard error of label Dice is a third of it.
        share: of the slices, that are perturbed, see Trial.

    Returns:
        Calibration.

    Raises:
        InputError: no mask has foreground, or the kind cannot reach the target on this set.
    """
    trial, balance = _trial(masks_NHW, kind, foreground_fraction, seed, share)
    if kind == "random" and target_dice < 1:
        rate = flip_probability(target_dice, foreground_fraction, balance, share)
        return _outcome(trial, rate)
    return _calibrated(trial, target_dice, tolerance)


def _calibrated(trial, target_dice, tolerance, most=inf):
    """Return the Calibration of a trial's parts, on as many draws as that takes."""
    if target_dice == 1:
        return _outcome(trial, 0.0)
    severity = solve(trial, target_dice, tolerance, most=most)
    more = _more_draws(trial, severity, tolerance)
    if more is None:
        return _outcome(trial, severity)
    severity = solve(more, target_dice, tolerance, most=most, near=severity)
    return _outcome(more, severity, len(trial.tried))


def assess(
    masks_NHW: Sequence | np.ndarray,
    kind: str,
    severity: float,
    foreground_fraction: float | None,
    seed: int,
    share: float = 1.0,
) -> Calibration:
    """Measure the label error that a given severity makes of a set of masks.

    Args:
        masks_NHW, kind, foreground_fraction, seed, share: see `calibrate`.
        severity: standard deviation in pixels (natural, choppy) or flip probability (random).

    Returns:
        Calibration, of that severity.

    Raises:
        InputError: no mask has foreground, or background would flip with a probability above 1.
    """
    if kind == "random":
        flip_rate(severity, foreground_fraction)
    trial, _ = _trial(masks_NHW, kind, foreground_fraction, seed, share)
    return _outcome(_more_draws(trial, severity, TOLERANCE) or trial, severity)


def calibrate_labels(
    source: LabelSource,
    rows: np.ndarray,
    structures: Mapping[int, str],
    perturbation: Perturbation,
    foreground_fractions: Mapping[int, float],
    seed: Callable[[str], int],
    tolerance: float = TOLERANCE,
    given: Mapping[str, GivenLabels] = MappingProxyType({}),
) -> tuple[CalibratedError, dict[int, Calibration]]:
    """Give an error the size that its definition asks for, for each structure of some labels.

    Structures that a kind moves together are sized one after the other, the highest class index
    first: those below it do not change what it claims.

    Args:
        source: reference labels.
        rows: those of it that label Dice is of.
        structures: {class index: name} of all structures, from index 1 on.
        perturbation: its definition, with target_dice, severity, or none for severity 0.
        foreground_fractions: {class index: share of foreground pixels}.
        seed: from a kind to the seed of its draws.
        tolerance: see `calibrate`.
        given: the labels of the errors of the kind `given`, by name: of the error itself, or of
            those that it is of.

    Returns:
        The error, whose `seed` is that of these draws, and what each structure came to; the
        severities of a mixture or consensus, which are those of its errors, and of given labels,
        which have none, are NaN.

    Raises:
        InputError: a target is out of the kind's reach; the message names the structure.
    """
    about = (source, rows, structures)
    errors = {
        name: calibrate_labels(
            *about,
            part,
            foreground_fractions,
            seed,
            tolerance,
            {name: given[name]} if name in given else {},
        )[0]
        for name, part in perturbation.errors.items()
    }
    error = CalibratedError.unsized(
        perturbation, foreground_fractions, seed(perturbation.kind), errors, given
    )
    sized = _size_volumes if error.acts_on_volumes or errors else _size_slices
    sized = sized if error.given is None else _measure_given
    found: dict[int, Calibration] = {}
    for index, calibration in sized(error, source, rows, structures, perturbation, tolerance):
        found[index] = calibration
    ordered = {index: found[index] for index in structures}
    severities = {index: each.severity for index, each in ordered.items()}
    return replace(error, severities=severities), ordered


def _size_slices(error, source, rows, structures, perturbation, tolerance):
    """Yield index and Calibration of each structure under a kind that acts on slices."""
    share = error.settings.get("share", 1.0)
    for index, name in structures.items():
        masks, fraction = Masks(source, rows, index), error.foreground_fractions[index]
        about = (fraction, error.seed)
        with naming(name):
            if perturbation.target_dice is None:
                severity = perturbation.severity or 0
                yield index, assess(masks, error.kind, severity, *about, share)
            else:
                target = perturbation.target_dice
                yield index, calibrate(masks, error.kind, target, *about, tolerance, share)


def _measure_given(error, source, rows, structures, perturbation, tolerance):
    """Yield index and Calibration of each structure of given labels, over all rows."""
    share = error.settings.get("share", 1.0)
    for index, name in structures.items():
        reference = Masks(source, rows, index)
        with naming(name):
            if not any(mask_HW.any() for mask_HW in reference):
                raise InputError(_empty(error.kind, len(rows)))
        wrong = ((error.given.read([row])[0] == index).astype(np.uint8) for row in rows)
        counts_4 = sum(map(overlap, reference, wrong))
        if share != 1:
            counts_4 = share * counts_4 + (1 - share) * sum(map(overlap, reference, reference))
        yield index, Calibration(nan, Overlap.of(counts_4), draws=1, draw_sd=0.0, evaluations=0)


def _size_volumes(error, source, rows, structures, perturbation, tolerance):
    """Yield index and Calibration of each structure under a kind that acts on volumes."""
    share, inner = error.settings.get("share", 1.0), without_share(error)
    volumes, cases = Volumes(source), _spread_cases(source, rows)
    most = most_severity(error)
    severities: dict[int, float] = {}
    for index in sorted(structures, reverse=True):
        sized = replace(inner, severities=dict(severities))
        parts = [Case(volumes, sized, rows_n, index) for rows_n in cases]
        draws = _draws(ENOUGH_SLICES, sum(map(len, cases)))
        draws = min(draws, MOST_DRAWS_OF_CASES)
        trial = Trial(error.kind, parts, draws, share, MOST_DRAWS_OF_CASES)
        with naming(structures[index]):
            if not any(mask_HW.any() for part in parts for mask_HW in part.masks):
                raise InputError(_empty(error.kind, len(rows)))
            if error.errors:
                calibration = replace(_outcome(trial, 0.0), severity=nan)
            elif perturbation.target_dice is None:
                severity = perturbation.severity or 0
                more = _more_draws(trial, severity, tolerance)
                calibration = _outcome(more or trial, severity)
            else:
                calibration = _calibrated(trial, perturbation.target_dice, tolerance, most)
        severities[index] = calibration.severity
        yield index, calibration


@contextmanager
def naming(structure: str) -> Iterator[None]:
    """Put a structure's name before what an InputError says."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{structure}: {error}") from error


def _spread_cases(source, rows):
    """Return the rows of each case, or of evenly spaced ones that make MOST_SLICES."""
    rows = np.asarray(rows)
    names = [*dict.fromkeys(source.case[rows].tolist())]
    number = max(1, round(len(names) * min(1.0, MOST_SLICES / len(rows))))
    chosen = np.linspace(0, len(names) - 1, number).round().astype(int)
    return [rows[source.case[rows] == names[index]] for index in chosen]


class Case:
    """The slices of a case, of one structure; the severities of those above it are known."""

    def __init__(
        self, volumes: Volumes, error: CalibratedError, rows_n: np.ndarray, index: int
    ) -> None:
        self.volumes, self.error, self.rows_n, self.index = volumes, error, rows_n, index
        self._labels_nHW = volumes.source.read_labels(rows_n)
        self.masks = [*(self._labels_nHW == index).astype(np.uint8)]

    def perturbed(self, severity: float, draw: int) -> Iterable[np.ndarray]:
        severities = {**self.error.severities, self.index: severity}
        error = replace(self.error, severities=severities)
        drawer = Drawer(self.volumes.source, error, self.volumes)
        labels_nHW = drawer.labels(self.rows_n, draw, self._labels_nHW)
        return (labels_nHW == self.index).astype(np.uint8)


def _more_draws(trial, severity, tolerance):
    """Return a Trial of as many draws as the standard error needs; None if there are enough."""
    if trial.kind == "random":
        return None
    wanted = ceil((trial.draw_sd(severity) / (STANDARD_ERROR * tolerance)) ** 2)
    wanted = min(wanted, trial.most_draws)
    if wanted <= trial.draws:
        return None
    return Trial(trial.kind, trial.parts, wanted, trial.share, trial.most_draws)


def _outcome(trial, severity, evaluations=0):
    """Return the Calibration of the final severity, after `evaluations` on other draws."""
    found, draw_sd = trial.overlap(severity), trial.draw_sd(severity)
    return Calibration(severity, found, trial.draws, draw_sd, evaluations + len(trial.tried))


class Part(Protocol):
    """What is perturbed as one: a slice, or the slices of a case."""

    @property
    def masks(self) -> Sequence[np.ndarray]:
        """Its reference masks (H, W), of one structure."""

    def perturbed(self, severity: float, draw: int) -> Iterable[np.ndarray]:
        """Yield the perturbed masks of one draw: the same random numbers for every severity."""


class Slice:
    """A slice on its own."""

    def __init__(
        self,
        mask_HW: np.ndarray,
        kind: str,
        foreground_fraction: float | None,
        seed: int,
        index: int,
        kept: KeptOutlines,
    ) -> None:
        self.masks = [mask_HW]
        self.kind, self.foreground_fraction = kind, foreground_fraction
        self.seed, self.index, self.kept = seed, index, kept

    def perturbed(self, severity: float, draw: int) -> Iterable[np.ndarray]:
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, draw, self.index]))
        (mask_HW,) = self.masks
        outlines = self.kept.of(self.index, mask_HW, self.kind)
        yield perturb(mask_HW, self.kind, severity, rng, self.foreground_fraction, outlines)


class Trial:
    """Parts of a dataset, and the draws on which every severity is tried."""

    def __init__(
        self,
        kind: str,
        parts: Sequence[Part],
        draws: int,
        share: float = 1.0,
        most_draws: int = MOST_DRAWS,
    ) -> None:
        """Choose the draws.

        Args:
            kind: for messages.
            parts: independent of each other.
            draws: how many.
            share: of the parts, that is perturbed; the expected counts are taken, so that which
                parts are hit is no part of the noise.
            most_draws: how many there may be where these scatter too much.
        """
        self.kind, self.parts, self.draws, self.share = kind, parts, draws, share
        self.most_draws = most_draws
        self.tried: dict[float, np.ndarray] = {}  # severity -> counts (D, N, 4)

    def counts(self, severity: float) -> np.ndarray:
        """Return counts (D, N, 4) of each draw and part."""
        if severity not in self.tried:
            counts_DN4 = [
                [self._counts(part, severity, draw) for part in self.parts]
                for draw in range(self.draws)
            ]
            self.tried[severity] = self._hit(np.array(counts_DN4))
        return self.tried[severity]

    def _counts(self, part, severity, draw):
        return sum(map(overlap, part.masks, part.perturbed(severity, draw)), np.zeros(4, np.int64))

    def _hit(self, counts_DN4):
        if self.share == 1:
            return counts_DN4
        clean_N4 = [sum(map(overlap, part.masks, part.masks)) for part in self.parts]
        return self.share * counts_DN4 + (1 - self.share) * np.array(clean_N4)

    def label_dice(self, severity: float) -> float:
        """Return label Dice of all draws together."""
        return float(dice(self.counts(severity).sum(axis=(0, 1))))

    def draw_sd(self, severity: float) -> float:
        """Return the standard deviation of the label Dice of one draw of all parts.

        Parts are independent, so their variances between draws add up, once Dice is linearised in
        the counts; this is steady even for two draws of many parts.
        """
        tp_DN, fp_DN, fn_DN, _ = np.moveaxis(self.counts(severity), 2, 0)
        total_DN = 2 * tp_DN + fp_DN + fn_DN
        part_DN = (2 * tp_DN - self.label_dice(severity) * total_DN) * self.draws / total_DN.sum()
        return float(np.sqrt(part_DN.var(axis=0, ddof=1).sum()))

    def overlap(self, severity: float) -> Overlap:
        """Return how the labels of all draws together overlap with the reference."""
        return Overlap.of(self.counts(severity).sum(axis=(0, 1)))


def _trial(masks_NHW, kind, foreground_fraction, seed, share=1.0):
    """Choose slices and draws.

    Returns:
        Trial, and for `random` the number of background pixels that flip per foreground pixel that
        does, over the whole set: 1 where foreground_fraction is the set's own.
    """
    # Empty slices stay as they are, except under `random` and perhaps kinds of the user's own.
    with_empty = kind == "random" or is_own(kind)
    rows = [row for row in range(len(masks_NHW)) if with_empty or np.any(masks_NHW[row])]
    chosen = np.linspace(0, len(rows) - 1, min(len(rows), MOST_SLICES)).round().astype(int)
    masks = [np.asarray(masks_NHW[rows[index]], dtype=np.uint8) for index in chosen]
    foreground = sum(np.count_nonzero(mask_HW) for mask_HW in masks)
    if foreground == 0:
        raise InputError(_empty(kind, len(masks_NHW)))
    if kind != "random":
        return _of_slices(masks, kind, None, seed, _draws(ENOUGH_SLICES, len(masks)), share), None
    flip_rate(0, foreground_fraction)  # refuses an invalid fraction
    odds = foreground_fraction / (1 - foreground_fraction)
    balance = odds / _odds(masks_NHW if len(rows) > len(masks) else masks)
    # The part takes the whole set's balance, so that its label Dice is the set's.
    part_odds = balance * _odds(masks)
    draws = _draws(ENOUGH_PIXELS, foreground)
    fraction = part_odds / (1 + part_odds)
    return _of_slices(masks, kind, fraction, seed, draws, share), balance


def _of_slices(masks, kind, fraction, seed, draws, share):
    about = (kind, fraction, seed)
    kept = KeptOutlines()
    parts = [Slice(mask_HW, *about, index, kept) for index, mask_HW in enumerate(masks)]
    return Trial(kind, parts, draws, share)


def _draws(enough, number):
    """Return how many draws of `number` parts make enough parts; at least two, to compare them."""
    return min(max(2, ceil(enough / number)), MOST_DRAWS)


def _odds(masks):
    """Return foreground over background pixels of a set."""
    counts = [(np.count_nonzero(masks[i]), masks[i].size) for i in range(len(masks))]
    foreground, size = np.sum(counts, axis=0)
    return foreground / max(size - foreground, 1)


def flip_probability(
    target_dice: float, foreground_fraction: float | None, balance: float, share: float
) -> float:
    """Return the severity of `random` whose expected counts give the target.

    Args:
        target_dice: wanted label Dice, in (0, 1].
        foreground_fraction: share of foreground pixels, by which background flips.
        balance: background pixels that flip per foreground pixel that does; 1 where the fraction is
            that of the labels themselves.
        share: of the slices, that are hit.

    Raises:
        InputError: no probability gives it.
    """
    # 1 - target at balance 1 and share 1.
    probability = 2 * (1 - target_dice) / (2 + target_dice * (balance - 1)) / share
    fraction = foreground_fraction or 0.0
    highest = min(1, (1 - fraction) / max(fraction, 1e-9))
    if probability > highest:
        flipped = share * highest
        lowest = 2 * (1 - flipped) / (2 * (1 - flipped) + flipped * (1 + balance))
        raise InputError(_unreachable("random", target_dice, lowest))
    return probability


def most_severity(error: CalibratedError | Perturbation) -> float:
    """Return the largest severity that the kind of an error has."""
    return 1.0 if error.settings.get("clicks") else MOST.get(error.kind, inf)


def solve(
    trial: Trial,
    target_dice: float,
    tolerance: float,
    near: float | None = None,
    most: float = inf,
    accepted: float | None = None,
) -> float:
    """Return the severity whose label Dice is nearest to the target, found by Brent's method.

    Args:
        trial: where severities are tried.
        target_dice: wanted label Dice, in (0, 1).
        tolerance: ten times the difference at which the search ends.
        near: a severity close to it, if one is known.
        most: the largest severity that the kind has.
        accepted: largest accepted difference, if it is not the tolerance.

    Raises:
        InputError: no severity comes that near.
    """

    def gap(severity):
        difference = trial.label_dice(severity) - target_dice
        # Near enough ends the search: the last digits belong to the draws.
        return 0.0 if abs(difference) <= tolerance / 10 else difference

    low, high = 0.0, 1.0
    if near is not None:
        low, high = 0.95 * near, min(1.05 * near, most)
        low = low if gap(low) > 0 else 0.0
    while gap(high) > 0:
        low, high = high, 2 * high
        if high > min(8 * max(trial.parts[0].masks[0].shape), most):
            lowest = min(map(trial.label_dice, trial.tried))
            raise InputError(_unreachable(trial.kind, target_dice, lowest))
    tolerated = tolerance if accepted is None else accepted
    if gap(low) <= 0:
        if -gap(low) > tolerated:
            raise InputError(
                f"{trial.kind}: target label Dice {target_dice} is out of reach on these masks, as "
                f"the errors of other structures alone make it {trial.label_dice(low):.3f}; choose "
                "a target below that."
            )
        return low
    # Here, since those who only draw labels do without it.
    from scipy.optimize import brentq

    # With few small objects label Dice has steps: the search then closes in on one, and its nearer
    # side is taken.
    brentq(gap, low, high, xtol=1e-4, rtol=1e-4, disp=False)
    severity = min(trial.tried, key=lambda tried: abs(gap(tried)))
    if abs(gap(severity)) > tolerated:
        raise InputError(_skipped(trial, target_dice))
    return severity


def _empty(kind, number):
    return f"{kind}: no foreground in {number} masks; give masks of the structure."


def _unreachable(kind, target_dice, lowest):
    return (
        f"{kind}: target label Dice {target_dice} is out of reach on these masks, which can get "
        f"from {lowest:.3f} to 1.000; choose a target in this range."
    )


def _skipped(trial, target_dice):
    reached = sorted(map(trial.label_dice, trial.tried))
    above = min(value for value in reached if value > target_dice)
    below = max(value for value in reached if value < target_dice)
    return (
        f"{trial.kind}: target label Dice {target_dice} is out of reach on these masks, where "
        f"label Dice steps from {above:.3f} to {below:.3f} (it can get from {reached[0]:.3f} to "
        "1.000); choose one of these, or give more masks."
    )
