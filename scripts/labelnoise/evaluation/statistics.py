"""Intervals over repeats and cases: one statistic for every number that a study reports.

Every reported number is a contrast, a mean over repeats and cases of the values of one linear
combination of cells: a level, a drop, a slope, a difference of drops. Repeats (label draw and
initial weights) and cases (patients) are crossed random effects, so an interval is for new repeats
and new cases alike.

Shape legend: K contrasts, R repeats, C cases.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
from scipy.special import digamma, polygamma, stdtr, stdtrit

CONFIDENCE = 0.95
# A prior for the variance between repeats is fitted to at least so many contrasts.
FEWEST_FOR_PRIOR = 3
# Values whose variance is below this share of the median one do not vary but for rounding.
CONSTANT = 1e-10
# The normal distribution is that of many degrees of freedom.
MANY = 1e9


def intervals(
    contrasts_KRC: np.ndarray,
    confidence: float = CONFIDENCE,
    fitted_KRC: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return the mean of each contrast with its interval over repeats and cases.

    The estimate is the mean of all values, absent ones taken from an additive fit of repeats and
    cases, so that what is absent shifts no mean.

    With A = var(repeat means) / R, B = var(case means) / C and E = residual mean square / (R C),
    the variance of the mean of a two-way random layout is A + B - E, here kept at max(A, B) at
    least, with Satterthwaite's degrees of freedom (A + B)^2 / (A^2 / d_A + B^2 / (C - 1)). With two
    or three repeats d_A = R - 1 decides nothing, so the variances between repeats of all contrasts
    are moderated (Smyth 2004, section 6: an inverse chi-square prior fitted by the moments of the
    log variances), which adds the prior's degrees of freedom to d_A.

    With one repeat the interval is over cases alone, with one case over repeats alone: see
    `left_out`. Contrasts that are related, such as those of one study, belong into one call.

    Args:
        contrasts_KRC: values of each contrast; NaN where a case has none in a repeat. A case or
            repeat without any value does not count.
        confidence: of the intervals, above 0 and below 1.
        fitted_KRC: see `layouts`.

    Returns:
        One row per contrast: estimate, low, high, standard_error, df (degrees of freedom, infinite
        for a normal interval) and p (two-sided, against 0). Bounds and p are NaN where neither
        repeats nor cases tell a spread, all are NaN without a value.

    Raises:
        ValueError: the array has not three axes, or the confidence is out of range.
    """
    contrasts_KRC = np.asarray(contrasts_KRC, float)
    if contrasts_KRC.ndim != 3:
        raise ValueError(f"contrasts have {contrasts_KRC.ndim} axes, expected (K, R, C)")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected above 0 and below 1")
    rows = [_row(layout, confidence) for layout in layouts(contrasts_KRC, fitted_KRC)]
    return pd.DataFrame(rows, columns=["estimate", "low", "high", "standard_error", "df", "p"])


def layouts(contrasts_KRC: np.ndarray, fitted_KRC: np.ndarray | None = None) -> list["Layout"]:
    """Return the means and variances of each contrast, those between repeats moderated.

    Args:
        contrasts_KRC: see `intervals`.
        fitted_KRC: contrasts that the prior is fitted to; `contrasts_KRC` themselves if not given.
    """
    found = [Layout.of(values_RC) for values_RC in contrasts_KRC]
    fitted = found if fitted_KRC is None else [Layout.of(values_RC) for values_RC in fitted_KRC]
    moderated = moderate(*_between_repeats(found), _between_repeats(fitted))
    return [
        replace(layout, between_repeats=float(variance), degrees=float(degrees))
        for layout, variance, degrees in zip(found, *moderated, strict=True)
    ]


def left_out(contrasts_KRC: np.ndarray) -> list[str]:
    """Return what the interval of each contrast does not cover.

    Returns:
        One text per contrast: "", "repeats", "cases", or "repeats and cases".
    """
    texts = []
    for values_RC in np.asarray(contrasts_KRC, float):
        part = Layout.of(values_RC)
        missing = [name for name, n in (("repeats", part.repeats), ("cases", part.cases)) if n < 2]
        texts.append(" and ".join(missing))
    return texts


def moderate(
    variances_K: np.ndarray,
    degrees_K: np.ndarray,
    fitted: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Shrink variances to a common prior (Smyth 2004, section 6.2; limma's squeezeVar).

    Args:
        variances_K: sample variances, NaN where there is none.
        degrees_K: their degrees of freedom, 0 where there is none.
        fitted: variances and degrees of freedom that the prior is fitted to, if they are others.

    Returns:
        The posterior variances, and their degrees of freedom, at most those of all that the prior
        is fitted to. These are the variances above 0 that do not differ by rounding alone; with
        fewer than FEWEST_FOR_PRIOR of them all are returned as they are.
    """
    fitted_K, fitted_degrees_K = (variances_K, degrees_K) if fitted is None else fitted
    known_K = (degrees_K > 0) & np.isfinite(variances_K)
    # Equal values, such as those of networks that paint nothing, say nothing about the others.
    varies_K = (fitted_degrees_K > 0) & (np.nan_to_num(fitted_K) > 0)
    if varies_K.any():
        varies_K &= fitted_K >= CONSTANT * np.median(fitted_K[varies_K])
    if varies_K.sum() < FEWEST_FOR_PRIOR:
        return variances_K, degrees_K.astype(float)
    most = fitted_degrees_K[varies_K].sum()
    prior, prior_degrees = _fit_prior(fitted_K[varies_K], fitted_degrees_K[varies_K].astype(float))
    variances, degrees = variances_K[known_K], degrees_K[known_K].astype(float)
    posterior_K, total_K = variances_K.copy(), degrees_K.astype(float)
    if np.isinf(prior_degrees):
        posterior_K[known_K] = prior
    else:
        weight = degrees + prior_degrees
        posterior_K[known_K] = (prior_degrees * prior + degrees * variances) / weight
    total_K[known_K] = np.minimum(degrees + prior_degrees, most)
    return posterior_K, total_K


def components(contrasts_KRC: np.ndarray) -> pd.DataFrame:
    """Return the variance components of each contrast, estimated by the moments of its layout.

    Args:
        contrasts_KRC: see `intervals`.

    Returns:
        One row per contrast: the standard deviations `repeat`, `case` and `residual` (repeat x
        case), 0 where a variance comes out negative, NaN where there is one repeat or one case.
    """
    rows = []
    for values_RC in np.asarray(contrasts_KRC, float):
        part = Layout.of(values_RC)
        if part.repeats < 2 or part.cases < 2:
            rows.append([np.nan] * 3)
            continue
        repeat = part.between_repeats - part.residual / part.cases
        case = part.between_cases - part.residual / part.repeats
        rows.append(np.sqrt(np.maximum([repeat, case, part.residual], 0)).tolist())
    return pd.DataFrame(rows, columns=["repeat", "case", "residual"])


def pooled_ratio_values(numerator_RC: np.ndarray, denominator_RC: np.ndarray) -> np.ndarray:
    """Return values per repeat and case whose mean over cases is a score pooled over pixels.

    A pooled score is a ratio of sums over cases, N / M. To first order, leaving case c out moves it
    by (n_c - N / M m_c) / M; with C times that added, the score itself becomes a mean over cases
    (linearised ratio, Cochran 1977, section 6.3), so that it takes the same road as any other.

    Args:
        numerator_RC: n of each case, such as 2 tp of Dice; NaN where a repeat lacks a case.
        denominator_RC: m of each case, such as 2 tp + fp + fn; NaN in the same places.

    Returns:
        (R, C); NaN where a repeat lacks a case, and in a repeat whose denominators are all 0.
    """
    count_R1 = np.isfinite(denominator_RC).sum(axis=1, keepdims=True)
    total_R1 = np.nansum(denominator_RC, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        score_R1 = np.nansum(numerator_RC, axis=1, keepdims=True) / total_R1
        influence_RC = (numerator_RC - score_R1 * denominator_RC) / total_R1
    return score_R1 + count_R1 * influence_RC


@dataclass(frozen=True)
class Layout:
    """Mean and variances of one contrast's values over repeats and cases.

    Attributes:
        estimate: the mean.
        repeats, cases: how many there are; infinite repeats are their limit.
        between_repeats: variance of the means of repeats, NaN for one repeat.
        degrees: its degrees of freedom.
        between_cases: variance of the means of cases, NaN for one case.
        residual: mean square of what repeats and cases do not explain.
    """

    estimate: float
    repeats: float
    cases: int
    between_repeats: float
    degrees: float
    between_cases: float
    residual: float

    @classmethod
    def of(cls, values_RC: np.ndarray) -> Self:
        """Return the layout of the repeats and cases that have any value."""
        defined_RC = np.isfinite(values_RC)
        values_RC = values_RC[defined_RC.any(axis=1)][:, defined_RC.any(axis=0)]
        repeats, cases = values_RC.shape
        if not values_RC.size:
            return cls(np.nan, repeats, cases, np.nan, repeats - 1, np.nan, 0.0)
        # Absent values take what the effects of their repeat and case predict, so that a case which
        # is absent from some repeats shifts no mean.
        defined_RC = np.isfinite(values_RC)
        filled_RC = _fill(values_RC, defined_RC)
        repeat_R, case_C = filled_RC.mean(axis=1), filled_RC.mean(axis=0)
        residual_RC = filled_RC - repeat_R[:, None] - case_C + filled_RC.mean()
        degrees = (repeats - 1) * (cases - 1) - (defined_RC.size - defined_RC.sum())
        return cls(
            estimate=filled_RC.mean(),
            repeats=repeats,
            cases=cases,
            between_repeats=repeat_R.var(ddof=1) if repeats > 1 else np.nan,
            degrees=repeats - 1,
            between_cases=case_C.var(ddof=1) if cases > 1 else np.nan,
            residual=(residual_RC**2).sum() / degrees if degrees > 0 else 0.0,
        )

    def error(self) -> tuple[float, float]:
        """Return standard error and degrees of freedom of the mean, see `intervals`."""
        if not self.repeats or not self.cases or (self.repeats < 2 and self.cases < 2):
            return np.nan, np.nan
        a = self.between_repeats / self.repeats if self.repeats > 1 else 0.0
        b = self.between_cases / self.cases if self.cases > 1 else 0.0
        e = self.residual / (self.repeats * self.cases)
        spread = (a**2 / self.degrees if a else 0.0) + (b**2 / (self.cases - 1) if b else 0.0)
        df = (a + b) ** 2 / spread if spread else np.inf
        return float(np.sqrt(max(a + b - e, a, b))), df

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return the bounds of the mean's interval, see `intervals`."""
        error, df = self.error()
        half = float(stdtrit(min(df, MANY), (1 + confidence) / 2)) * error
        return self.estimate - half, self.estimate + half

    def scaled(self, factor: float) -> Self:
        """Return the layout of the values times a factor."""
        square = factor**2
        return replace(
            self,
            estimate=factor * self.estimate,
            between_repeats=square * self.between_repeats,
            between_cases=square * self.between_cases,
            residual=square * self.residual,
        )


def _fill(values_RC: np.ndarray, defined_RC: np.ndarray) -> np.ndarray:
    """Fill absent values from an additive fit of repeats and cases, by alternating means."""
    if defined_RC.all():
        return values_RC
    filled_RC = np.where(defined_RC, values_RC, np.nanmean(values_RC))
    for _ in range(200):
        mean = filled_RC.mean()
        fit_RC = filled_RC.mean(axis=1, keepdims=True) + filled_RC.mean(axis=0) - mean
        step = np.abs(np.where(defined_RC, 0, fit_RC - filled_RC)).max()
        filled_RC = np.where(defined_RC, values_RC, fit_RC)
        if step <= 1e-12 * max(1.0, abs(mean)):
            break
    return filled_RC


def _between_repeats(found: list[Layout]) -> tuple[np.ndarray, np.ndarray]:
    """Return variances between repeats and their degrees of freedom."""
    return (
        np.array([layout.between_repeats for layout in found]),
        np.array([layout.degrees for layout in found]),
    )


def _row(layout: Layout, confidence: float) -> list[float]:
    """Return the row of one contrast."""
    error, df = layout.error()
    p = p_value(layout.estimate, error, df)
    return [layout.estimate, *layout.interval(confidence), error, df, p]


def p_value(estimate: float, error: float, df: float) -> float:
    """Return the two-sided p of an estimate against 0, given its standard error."""
    if error == 0:
        return 1.0 if estimate == 0 else 0.0
    return float(2 * stdtr(min(df, MANY), -abs(estimate) / error))


def _fit_prior(variances: np.ndarray, degrees: np.ndarray) -> tuple[float, float]:
    """Fit scale and degrees of freedom of the prior; the latter are infinite for equal variances.

    By the moments of z = log s^2 (Smyth 2004, section 6.2): under the prior, z - digamma(d / 2) +
    log(d / 2) has mean log s0^2 - digamma(d0 / 2) + log(d0 / 2) and variance trigamma(d / 2) +
    trigamma(d0 / 2).
    """
    # The logarithm of a tiny variance would decide alone; limma sets the same floor.
    variances = np.maximum(variances, 1e-5 * np.median(variances))
    z = np.log(variances) - digamma(degrees / 2) + np.log(degrees / 2)
    excess = z.var(ddof=1) - polygamma(1, degrees / 2).mean()
    if excess <= 0:
        # limma has pooled the variances here since 2017. They are too small, and cover less, where
        # contrasts share their control.
        return float(np.exp(z.mean())), np.inf
    prior_degrees = 2 * _inverse_trigamma(excess)
    log_scale = z.mean() + digamma(prior_degrees / 2) - np.log(prior_degrees / 2)
    return float(np.exp(log_scale)), prior_degrees


def _inverse_trigamma(value: float) -> float:
    """Solve trigamma(y) = value by Newton's method (Smyth 2004, appendix)."""
    y = 0.5 + 1 / value
    for _ in range(50):
        trigamma = polygamma(1, y)
        step = trigamma * (1 - trigamma / value) / polygamma(2, y)
        y += step
        if -step / y < 1e-8:
            break
    return float(y)
