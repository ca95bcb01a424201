"""Calibration: the severity at which a kind of label error has the wanted label Dice on a dataset.

A severity in pixels means something else on every organ and slice size; label Dice does not. Shape
legend: N slices, H height, W width, D draws; the 4 counts are those of `labelnoise.counts`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil

import numpy as np

from labelnoise.counts import dice, overlap
from labelnoise.errors import InputError
from labelnoise.labels.error import LabelError, measure
from labelnoise.labels.perturbations import flip_rate, perturb
from labelnoise.own_code import is_own

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
# Largest accepted difference between achieved and wanted label Dice.
TOLERANCE = 0.002


@dataclass(frozen=True)
class Calibration:
    """A calibrated severity and the label error that it gives.

    severity: standard deviation in pixels (natural, choppy) or flip probability (random).
    error: LabelError of all draws together.
    draws: number of draws, each of all slices, that the severity was solved on.
    draw_sd: standard deviation of label Dice between draws, each of all slices that were tried.
    evaluations: number of severities tried.
    """

    severity: float
    error: LabelError
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

    Returns:
        Calibration.

    Raises:
        InputError: no mask has foreground, or the kind cannot reach the target on this set.
    """
    trial, balance = _trial(masks_NHW, kind, foreground_fraction, seed)
    if target_dice == 1:
        severity = 0.0
    elif kind == "random":
        severity = _flip_probability(target_dice, foreground_fraction, balance)
    else:
        severity = _solve(trial, target_dice, tolerance)
        more = _more_draws(trial, severity, tolerance)
        if more:
            trial, first = more, trial
            severity = _solve(trial, target_dice, tolerance, near=severity)
            return _outcome(trial, severity, len(first.tried))
    return _outcome(trial, severity)


def assess(
    masks_NHW: Sequence | np.ndarray,
    kind: str,
    severity: float,
    foreground_fraction: float | None,
    seed: int,
) -> Calibration:
    """Measure the label error that a given severity makes of a set of masks.

    Args:
        masks_NHW, kind, foreground_fraction, seed: see `calibrate`.
        severity: standard deviation in pixels (natural, choppy) or flip probability (random).

    Returns:
        Calibration, of that severity.

    Raises:
        InputError: no mask has foreground, or background would flip with a probability above 1.
    """
    if kind == "random":
        flip_rate(severity, foreground_fraction)
    trial, _ = _trial(masks_NHW, kind, foreground_fraction, seed)
    return _outcome(_more_draws(trial, severity, TOLERANCE) or trial, severity)


def _more_draws(trial, severity, tolerance):
    """Return a Trial of as many draws as the standard error needs; None if there are enough."""
    if trial.kind == "random":
        return None
    wanted = ceil((trial.draw_sd(severity) / (STANDARD_ERROR * tolerance)) ** 2)
    if min(wanted, MOST_DRAWS) <= trial.draws:
        return None
    return Trial(trial.masks, trial.kind, None, trial.seed, min(wanted, MOST_DRAWS))


def _outcome(trial, severity, evaluations=0):
    """Return the Calibration of the final severity, after `evaluations` on other draws."""
    error, draw_sd = trial.label_error(severity), trial.draw_sd(severity)
    return Calibration(severity, error, trial.draws, draw_sd, evaluations + len(trial.tried))


class Trial:
    """A set of masks, and the draws on which every severity is tried."""

    def __init__(
        self,
        masks: list[np.ndarray],
        kind: str,
        foreground_fraction: float | None,
        seed: int,
        draws: int,
    ) -> None:
        self.masks, self.kind, self.seed, self.draws = masks, kind, seed, draws
        self.foreground_fraction = foreground_fraction
        self.tried: dict[float, np.ndarray] = {}  # severity -> counts (D, N, 4)

    def perturbed(self, severity: float, draw: int) -> Iterator[np.ndarray]:
        """Yield the perturbed masks of one draw: the same draw for every severity."""
        for index, mask_HW in enumerate(self.masks):
            rng = np.random.default_rng(np.random.SeedSequence([self.seed, draw, index]))
            yield perturb(mask_HW, self.kind, severity, rng, self.foreground_fraction)

    def counts(self, severity: float) -> np.ndarray:
        """Return counts (D, N, 4) of each draw and slice."""
        if severity not in self.tried:
            counts = [
                [*map(overlap, self.masks, self.perturbed(severity, draw))]
                for draw in range(self.draws)
            ]
            self.tried[severity] = np.array(counts)
        return self.tried[severity]

    def label_dice(self, severity: float) -> float:
        """Return label Dice of all draws together."""
        return float(dice(self.counts(severity).sum(axis=(0, 1))))

    def draw_sd(self, severity: float) -> float:
        """Return the standard deviation of the label Dice of one draw of all slices.

        Slices are independent, so their variances between draws add up, once Dice is linearised in
        the counts; this is steady even for two draws of many slices.
        """
        tp_DN, fp_DN, fn_DN, _ = np.moveaxis(self.counts(severity), 2, 0)
        total_DN = 2 * tp_DN + fp_DN + fn_DN
        part_DN = (2 * tp_DN - self.label_dice(severity) * total_DN) * self.draws / total_DN.sum()
        return float(np.sqrt(part_DN.var(axis=0, ddof=1).sum()))

    def label_error(self, severity: float) -> LabelError:
        """Return the LabelError of all draws together."""
        perturbed = (self.perturbed(severity, draw) for draw in range(self.draws))
        return measure(chain(*[self.masks] * self.draws), chain.from_iterable(perturbed))


def _trial(masks_NHW, kind, foreground_fraction, seed):
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
        raise InputError(
            f"{kind}: no foreground in {len(masks_NHW)} masks; give masks of the structure."
        )
    if kind != "random":
        return Trial(masks, kind, None, seed, _draws(ENOUGH_SLICES, len(masks))), None
    flip_rate(0, foreground_fraction)  # refuses an invalid fraction
    odds = foreground_fraction / (1 - foreground_fraction)
    balance = odds / _odds(masks_NHW if len(rows) > len(masks) else masks)
    # The part takes the whole set's balance, so that its label Dice is the set's.
    part_odds = balance * _odds(masks)
    draws = _draws(ENOUGH_PIXELS, foreground)
    return Trial(masks, kind, part_odds / (1 + part_odds), seed, draws), balance


def _draws(enough, number):
    """Return how many draws of `number` parts make enough parts; at least two, to compare them."""
    return min(max(2, ceil(enough / number)), MOST_DRAWS)


def _odds(masks):
    """Return foreground over background pixels of a set."""
    counts = [(np.count_nonzero(masks[i]), masks[i].size) for i in range(len(masks))]
    foreground, size = np.sum(counts, axis=0)
    return foreground / max(size - foreground, 1)


def _flip_probability(target_dice, foreground_fraction, balance):
    """Return the severity of `random` whose expected counts give the target."""
    # 1 - target at balance 1.
    probability = 2 * (1 - target_dice) / (2 + target_dice * (balance - 1))
    highest = min(1, (1 - foreground_fraction) / max(foreground_fraction, 1e-9))
    if probability > highest:
        lowest = 2 * (1 - highest) / (2 * (1 - highest) + highest * (1 + balance))
        raise InputError(_unreachable("random", target_dice, lowest))
    return probability


def _solve(trial, target_dice, tolerance, near=None):
    """Return the severity whose label Dice is nearest to the target, found by Brent's method.

    near: a severity close to it, if one is known.
    """

    def gap(severity):
        difference = trial.label_dice(severity) - target_dice
        # Near enough ends the search: the last digits belong to the draws.
        return 0.0 if abs(difference) <= tolerance / 10 else difference

    low, high = 0.0, 1.0
    if near is not None:
        low, high = 0.95 * near, 1.05 * near
        low = low if gap(low) > 0 else 0.0
    while gap(high) > 0:
        low, high = high, 2 * high
        if high > 8 * max(trial.masks[0].shape):
            lowest = min(map(trial.label_dice, trial.tried))
            raise InputError(_unreachable(trial.kind, target_dice, lowest))
    # Here, since those who only draw labels do without it.
    from scipy.optimize import brentq

    # With few small objects label Dice has steps: the search then closes in on one, and its nearer
    # side is taken.
    brentq(gap, low, high, xtol=1e-4, rtol=1e-4, disp=False)
    severity = min(trial.tried, key=lambda tried: abs(gap(tried)))
    if abs(gap(severity)) > tolerance:
        raise InputError(_skipped(trial, target_dice))
    return severity


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
