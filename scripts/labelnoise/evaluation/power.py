"""What a design can find: power of the tests of claims, and the repeats that it takes.

The standard error of a design is taken as known but for its degrees of freedom, so that estimate /
error has the noncentral t distribution with effect / error (Johnson, Kotz and Balakrishnan 1995,
chapter 31). More repeats shrink what comes from repeats, and nothing of what comes from cases.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.special import nctdtr, nctdtrinc, stdtrit

from labelnoise.evaluation.statistics import MANY, Layout

POWER = 0.8
MOST_REPEATS = 100
UNREACHED = f"more than {MOST_REPEATS}"
CASES_DECIDE = "none: the cases decide"

Power = Callable[[float, float], float]


def power(effect: float, error: float, df: float, level: float) -> float:
    """Return the probability of p < `level`, two-sided, with an estimate on the effect's side.

    Args:
        effect: the true value, against 0.
        error: standard error of its estimate.
        df: its degrees of freedom.
        level: of the test.
    """
    return 1 - _miss(abs(effect), error, df, level / 2)


def power_within(effect: float, margin: float, error: float, df: float, level: float) -> float:
    """Return the probability that two one-sided tests put an effect within +-`margin`.

    By the sum of what the two tests miss, of which both are missed only where the margin is too
    narrow for any estimate (Schuirmann 1987); then it is 0 at least.
    """
    missed = sum(_miss(margin - side * effect, error, df, level) for side in (1, -1))
    return max(0.0, 1 - missed)


def smallest_effect(error: float, df: float, level: float) -> float:
    """Return the effect that `power` gives POWER for."""
    df = min(df, MANY)
    return error * float(nctdtrinc(df, 1 - POWER, stdtrit(df, 1 - level / 2)))


def smallest_margin(error: float, df: float, level: float) -> float:
    """Return the margin that `power_within` gives POWER for, of an effect of 0."""
    df = min(df, MANY)
    return error * float(nctdtrinc(df, (1 - POWER) / 2, stdtrit(df, 1 - level)))


def with_repeats(layout: Layout, repeats: float) -> Layout:
    """Return what a layout comes to with another number of repeats, infinity included.

    The variance of case means is that of the cases, which stays, and the residual over the repeats;
    the degrees of freedom between repeats change by as many as the repeats.
    """
    of_cases = max(layout.between_cases - layout.residual / layout.repeats, 0.0)
    return replace(
        layout,
        repeats=repeats,
        degrees=layout.degrees + repeats - layout.repeats,
        between_cases=of_cases + layout.residual / repeats,
    )


def repeats_needed(layout: Layout, power_of: Power, fewest: int = 2) -> str:
    """Return the smallest number of repeats that gives POWER, as text.

    Args:
        layout: of the contrast, with more than one repeat and case.
        power_of: function of standard error and degrees of freedom.
        fewest: the smallest number to try.

    Returns:
        The number, UNREACHED beyond MOST_REPEATS, or CASES_DECIDE where no number does.
    """
    if power_of(*with_repeats(layout, np.inf).error()) < POWER:
        return CASES_DECIDE
    for repeats in range(fewest, MOST_REPEATS + 1):
        if power_of(*with_repeats(layout, repeats).error()) >= POWER:
            return str(repeats)
    return UNREACHED


def _miss(distance: float, error: float, df: float, tail: float) -> float:
    """Return the probability that a one-sided test does not find a distance from its null."""
    if error == 0:
        return float(distance <= 0)
    df = min(df, MANY)
    # Far out, scipy has NaN for what is 0 to all digits.
    return float(np.nan_to_num(nctdtr(df, distance / error, stdtrit(df, 1 - tail))))
