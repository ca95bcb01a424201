"""How many cases, and how careful labels, a wanted test Dice takes: curves fitted to scores.

Dice follows a power law in the number of training cases,

    D(n, e) = end(e) - scale(e) n^(-power),

the form of learning curves (Hestness et al., arXiv 1712.00409, 2017), of one power for all label
errors. An error has an offset, how much lower its curve ends, which no number of cases gives back;
and a scale, what few cases lose, which more of them do. Errors that are drawn for each case anew
may average out with cases, a bias that all cases have does not.
Shape legend: K cells, a number of cases and an error each; R repeats, C test cases, S samples of a
bootstrap, E errors.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite
from typing import Any

import numpy as np
import pandas as pd

from labelnoise.evaluation.contrasts import MEASURES
from labelnoise.seeds import derive

# Powers that are tried; at either end a power law is not told from a step or from a logarithm.
POWERS = (0.05, 5.0)
GRID = 60
# Dice that one case loses, below which a curve is flat.
FLAT = 1e-6
SAMPLES = 1000
CONFIDENCE = 0.95
# Numbers of cases beyond so many times those measured are not said.
FURTHEST = 10
# Share of samples that may fail to find a power before it counts as unknown.
UNSURE = 0.1
# Columns of a surface, a group of recipes that differ in nothing but the number of cases.
SURFACE = ["dataset", "structure", "model", "recipes"]


@dataclass(frozen=True)
class Curve:
    """Fitted curves of test Dice, one for each label error.

    Attributes:
        reference: the error of the best labels.
        power: of the number of cases, within POWERS.
        ends: {error: Dice of any number of cases}, at most 1, and at most that of the reference.
        scales: {error: Dice lost with one case}, at least 0.
    """

    reference: str
    power: float
    ends: Mapping[str, float]
    scales: Mapping[str, float]

    @property
    def is_identified(self) -> bool:
        """Whether Dice rises with the best cases by a power not at an end of those tried."""
        low, high = POWERS
        return self.scales[self.reference] > FLAT and low * 1.01 < self.power < high / 1.01

    def offset(self, error: str) -> float:
        """Return how much lower than that of the best labels the curve of an error ends, >= 0."""
        return self.ends[self.reference] - self.ends[error]

    def dice(self, cases: Any, error: str) -> Any:
        """Return Dice of some number of cases with an error, or of several numbers."""
        return dice_with(cases, self.ends[error], self.scales[error], self.power)

    def cases_for(self, wanted: float, error: str) -> float:
        """Return the number of cases that gives a wanted Dice; infinite where none does."""
        return float(cases_for(wanted, self.ends[error], self.scales[error], self.power))

    def worth(self, cases: float, error: str, other: str) -> float:
        """Return how many cases with another error give the Dice that some give with one.

        Infinite where no number does.
        """
        return cases if other == error else self.cases_for(float(self.dice(cases, error)), other)


def dice_with(cases: Any, end: Any, scale: Any, power: float) -> np.ndarray:
    """Return Dice of a number of training cases, D above; arrays are broadcast."""
    return end - scale * np.asarray(cases, float) ** -power


def cases_for(wanted: Any, end: Any, scale: Any, power: float) -> np.ndarray:
    """Return the number of cases of which `dice_with` is a wanted Dice; arrays are broadcast.

    Infinite where no number gives it, 0 where any does.
    """
    room, scale = np.asarray(end, float) - wanted, np.asarray(scale, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        cases = (scale / room) ** (1 / power)
    cases = np.where(room > 0, cases, inf)
    return np.where((scale == 0) & (room >= 0), 0.0, cases)


def fit_curve(
    cases_K: np.ndarray,
    errors_K: Sequence[str],
    dice_K: np.ndarray,
    reference: str,
    weights_K: np.ndarray | None = None,
) -> Curve:
    """Fit curves by weighted least squares.

    Given the power, each error has a line of its own; the power is searched for on a grid, then
    between its neighbours.

    Args:
        cases_K: numbers of cases, at least 1.
        errors_K: the error of each cell.
        dice_K: test Dice.
        reference: the error of the best labels.
        weights_K: above 0; None weighs all alike.

    Raises:
        ValueError: there are fewer than three numbers of cases, or no cell of the reference.
    """
    cases_K = np.asarray(cases_K, float)
    if len(set(cases_K.tolist())) < 3 or reference not in errors_K:
        raise ValueError("a curve takes three numbers of cases, and cells of the reference")
    errors = list(dict.fromkeys(errors_K))
    is_of_EK = np.array([[each == error for each in errors_K] for error in errors], float)
    weights_EK = is_of_EK * (1.0 if weights_K is None else np.asarray(weights_K, float))
    total_E = weights_EK.sum(axis=1)
    is_best_E = np.array([error == reference for error in errors])

    def solved(power: float) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the weighted sum of squares that a power leaves, ends and scales."""
        fall_K = cases_K**-power
        fall_E, dice_E = weights_EK @ fall_K / total_E, weights_EK @ dice_K / total_E
        away_EK = fall_K - fall_E[:, None]
        spread_E = (weights_EK * away_EK**2).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            scale_E = -(weights_EK * away_EK * dice_K).sum(axis=1) / spread_E
        # None falls with cases; nor does one number of cases tell a scale.
        scale_E = np.where(spread_E > 0, np.maximum(scale_E, 0), 0)
        end_E = dice_E + scale_E * fall_E
        # No Dice is above 1, and no labels are better than the best.
        most_E = np.where(is_best_E, 1, min(end_E[is_best_E].item(), 1))
        lost_EK = weights_EK * fall_K * (most_E[:, None] - dice_K)
        lost_E = np.maximum(lost_EK.sum(axis=1) / (weights_EK @ fall_K**2), 0)
        scale_E = np.where(end_E > most_E, lost_E, scale_E)
        end_E = np.minimum(end_E, most_E)
        left_EK = dice_K - (end_E[:, None] - scale_E[:, None] * fall_K)
        return float((weights_EK * left_EK**2).sum()), end_E, scale_E

    low, high = np.log(POWERS)
    grid = np.linspace(low, high, GRID)
    place = int(np.argmin([solved(power)[0] for power in np.exp(grid)]))
    around = grid[max(place - 1, 0)], grid[min(place + 1, GRID - 1)]
    power = float(np.exp(_narrowed(lambda log: solved(float(np.exp(log)))[0], *around)))
    _, end_E, scale_E = solved(power)
    ends = dict(zip(errors, end_E.tolist(), strict=True))
    return Curve(reference, power, ends, dict(zip(errors, scale_E.tolist(), strict=True)))


def _narrowed(misfit, low, high):
    """Return where a function of one valley is lowest, by golden section to 1e-4."""
    ratio = (np.sqrt(5) - 1) / 2
    inner = [high - ratio * (high - low), low + ratio * (high - low)]
    values = [misfit(each) for each in inner]
    while high - low > 1e-4:
        if values[0] <= values[1]:
            high, inner = inner[1], [inner[1] - ratio * (inner[1] - low), inner[0]]
            values = [misfit(inner[0]), values[0]]
        else:
            low, inner = inner[0], [inner[1], inner[0] + ratio * (high - inner[0])]
            values = [values[1], misfit(inner[1])]
    return (low + high) / 2


@dataclass(frozen=True)
class Plan:
    """The fewest cases with one kind of labels that give a wanted Dice, and what they cost.

    Attributes:
        error: of the labels.
        cases: how many, infinite where no number is said to do.
        price: of them all, infinite likewise.
    """

    error: str
    cases: float
    price: float


def plan(curve: Curve, error: str, wanted: float, price: float, most: float = inf) -> Plan:
    """Return the cheapest plan with one kind of labels.

    Args:
        curve: the curve.
        error: of the labels.
        wanted: test Dice.
        price: of a case with these labels.
        most: number of cases beyond which none is said.
    """
    needed = curve.cases_for(wanted, error)
    # Rounding shall not ask for a case more where a whole number does.
    cases = max(ceil(needed - 1e-9), 1) if isfinite(needed) and needed <= most else inf
    return Plan(error, cases, cases * price if isfinite(cases) else inf)


def study_budget(
    runs: pd.DataFrame,
    cases: pd.DataFrame,
    degradation: pd.DataFrame,
    budget: Mapping[str, Any],
    groups: Mapping[str, tuple[str, int]],
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Fit the curve of every surface of a study, and find the cheapest plan for the wanted Dice.

    Args:
        runs, cases: what `tables.study_tables` returns.
        degradation: what `tables.degradation_table` returns.
        budget: the config's `budget`, completed.
        groups: {recipe: (what to call it and those that differ from it in the number of cases
            alone, that number)}.

    Returns:
        The surface: a row per SURFACE, perturbation and number of cases, with `label_dice` (mean of
        all training cases' labels), `dice` [`low`, `high`] as measured, over repeats and test
        cases (`left_out` says what not), `fitted`, `residual` = dice - fitted, and `price`.

        The plans: a row per SURFACE and perturbation. `power`, `scale`, `ends_at` (Dice of any
        number of cases) and `offset` (by how much that is lower than with the labels of the
        `reference`) of the curve; `cases` that give the `wanted`
        Dice and their `price`, infinite where none up to FURTHEST times the cases measured does;
        `worth`, how many cases with the reference's labels are worth the `most` measured
        with these; each with `..._low` and `..._high`. `extrapolated`: whether `cases` is outside
        `least` to `most`; `cheapest`, and in which share of the samples; `measured_cases`: the
        fewest measured whose mean reaches the wanted Dice, NaN without any; `identified`: whether
        the scores tell the power.

        The curves: the same keys, `cases`, `dice`, `low`, `high` and `extrapolated`, from the least
        measured to four times the most.

    Bounds are those of 95 % intervals by percentiles of fits to SAMPLES drawn again from repeats
    and from test cases, with replacement and independently of each other (Owen, Annals of Applied
    Statistics 1, 2007), all cells alike, as they share both.
    """
    cases, degradation, runs = (
        table[table["recipe"].isin(groups)].assign(
            recipes=lambda found: [groups[name][0] for name in found["recipe"]],
            number=lambda found: [groups[name][1] for name in found["recipe"]],
        )
        for table in (cases, degradation, runs)
    )
    parts: list[list[pd.DataFrame]] = [[], [], []]
    for key, cells in degradation.groupby(SURFACE, sort=False):
        names = dict(zip(SURFACE, key, strict=True))
        here = cases[(cases[SURFACE] == list(key)).all(axis=1)]
        for part, table in zip(parts, _surface(cells, here, budget), strict=True):
            part.append(pd.DataFrame(table).assign(**names)[[*SURFACE, *table[0]]])
    if not parts[0]:
        raise ValueError("no recipe of the groups has runs")
    surface, plans, curves = (pd.concat(part, ignore_index=True) for part in parts)
    return surface, plans, curves


def _surface(cells, cases, budget):
    """Return rows of the surface, the plans and the curves of one group of recipes."""
    cells = cells.sort_values("number", kind="stable")
    labels = cells.groupby("perturbation", sort=False)["label_dice_mean"].mean()
    reference = str(labels.idxmax())
    errors_K, number_K = cells["perturbation"].tolist(), cells["number"].to_numpy(float)
    dice_SK, own_K, weights_K = resampled(cells, cases, SAMPLES)
    curve = fit_curve(number_K, errors_K, own_K, reference, weights_K)
    samples = [fit_curve(number_K, errors_K, dice_K, reference, weights_K) for dice_K in dice_SK]
    identified = curve.is_identified
    if samples:
        lost = sum(not each.is_identified for each in samples)
        identified = identified and lost <= UNSURE * len(samples)
    least, most = number_K.min(), number_K.max()
    prices = {
        error: budget["case"] + budget["minute"] * budget["minutes"][error]
        for error in labels.index
    }
    surface = [
        {
            "perturbation": row["perturbation"],
            "kind": row["kind"],
            "draws": row["draws"],
            "cases": row["number"],
            "label_dice": labels[row["perturbation"]],
            "n": row["n"],
            "test_cases": row["cases"],
            "left_out": row["left_out"],
            "dice": row["dice_mean"],
            "low": row["dice_low"],
            "high": row["dice_high"],
            "fitted": float(curve.dice(row["number"], row["perturbation"])),
            "residual": row["dice_mean"] - float(curve.dice(row["number"], row["perturbation"])),
            "price": row["number"] * prices[row["perturbation"]],
        }
        for row in cells.to_dict("records")
    ]
    about = {"reference": reference, "wanted": budget["wanted"], "identified": identified}
    fits = [curve, *samples]
    found_FE = [
        [plan(each, error, budget["wanted"], prices[error], FURTHEST * most) for error in prices]
        for each in fits
    ]
    # Where no labels reach the wanted Dice, none are the cheapest.
    cheapest_F = [
        min(found, key=lambda each: each.price).error
        for found in found_FE
        if any(isfinite(each.price) for each in found)
    ]
    is_reached = any(isfinite(each.price) for each in found_FE[0])
    plans = []
    for place, error in enumerate(prices):
        first = cells[cells["perturbation"] == error].iloc[0]
        columns = {
            "power": [each.power for each in fits],
            "ends_at": [each.ends[error] for each in fits],
            "scale": [each.scales[error] for each in fits],
            "offset": [each.offset(error) for each in fits],
            "cases": [found[place].cases for found in found_FE],
            "price": [found[place].price for found in found_FE],
            "worth": [each.worth(most, error, reference) for each in fits],
        }
        row = {name: first[name] for name in ("perturbation", "kind", "draws")}
        row |= {"label_dice": labels[error], "minutes": budget["minutes"][error]}
        row |= {"case_price": prices[error], "n": first["n"], "test_cases": first["cases"]}
        for name, (own, *drawn) in columns.items():
            low, high = bounds(drawn)
            row |= {name: own, f"{name}_low": low, f"{name}_high": high}
        row |= {"least": least, "most": most}
        row |= {"extrapolated": not least <= found_FE[0][place].cases <= most}
        row |= {"cheapest": is_reached and cheapest_F[0] == error}
        row |= {"cheapest_share": cheapest_F[is_reached:].count(error) / max(len(samples), 1)}
        row |= {"measured_cases": _measured(surface, error, budget["wanted"]), **about}
        plans.append(row)
    return surface, plans, list(_curve_rows(curve, samples, labels.index, least, most))


def bounds(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return the percentiles that bound CONFIDENCE of some values, which may be infinite.

    Both are among the values; NaN where there are none.
    """
    if not len(values):
        return np.nan, np.nan
    ordered = np.sort(values)
    tail = (1 - CONFIDENCE) / 2
    places = np.floor(tail * (len(ordered) - 1)), np.ceil((1 - tail) * (len(ordered) - 1))
    low, high = (float(ordered[int(place)]) for place in places)
    return low, high


def _measured(surface, error, wanted):
    """Return the fewest cases measured that reach the wanted Dice by their mean."""
    enough = [
        row["cases"] for row in surface if row["perturbation"] == error and row["dice"] >= wanted
    ]
    return min(enough, default=np.nan)


def _curve_rows(curve, samples, errors, least, most) -> Iterator[dict[str, Any]]:
    number_N = np.unique(np.concatenate([np.geomspace(least, 4 * most, 60), [least, most]]))
    for error in errors:
        drawn_SN = np.array([each.dice(number_N, error) for each in samples])
        for place, number in enumerate(number_N.tolist()):
            low, high = bounds(drawn_SN[:, place]) if samples else (np.nan, np.nan)
            yield {
                "perturbation": error,
                "cases": number,
                "dice": float(curve.dice(number, error)),
                "low": low,
                "high": high,
                "extrapolated": number > most,
            }


def resampled(
    cells: pd.DataFrame, cases: pd.DataFrame, samples: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Dice of cells, from repeats and test cases drawn again, and as they are.

    Args:
        cells: rows whose `recipe` and `perturbation` name them.
        cases: counts of their runs per repeat and test case.
        samples: how many times; none where there is one repeat and one case.

    Returns:
        dice_SK, dice_K, pooled over test pixels, means over repeats; and weights_K, the inverse of
        the variance of those means between repeats, pooled over errors for each number of cases,
        all 1 with one repeat.
    """
    numerator, denominator = MEASURES["dice"](cases)
    wide = cases.assign(numerator=numerator, denominator=denominator).pivot(
        index=["recipe", "perturbation", "repeat"],
        columns="case",
        values=["numerator", "denominator"],
    )
    repeats = sorted(set(cases["repeat"]))
    order = [
        (recipe, error, repeat)
        for recipe, error in zip(cells["recipe"], cells["perturbation"], strict=True)
        for repeat in repeats
    ]
    shape = len(cells), len(repeats), -1
    # A case that a repeat lacks counts nothing.
    above_KRC, below_KRC = (
        np.nan_to_num(wide[part].reindex(order).to_numpy(float)).reshape(shape)
        for part in ("numerator", "denominator")
    )
    test_cases = above_KRC.shape[2]

    def score(by_repeat_R, by_case_C):
        with np.errstate(invalid="ignore"):
            dice_KR = (above_KRC @ by_case_C) / (below_KRC @ by_case_C)
        return np.nan_to_num(dice_KR) @ by_repeat_R / by_repeat_R.sum()

    rng = np.random.default_rng(derive(0, "budget"))
    drawn = [
        score(
            rng.multinomial(len(repeats), np.full(len(repeats), 1 / len(repeats))),
            rng.multinomial(test_cases, np.full(test_cases, 1 / test_cases)),
        )
        for _ in range(samples if len(repeats) > 1 or test_cases > 1 else 0)
    ]
    own_K = score(np.ones(len(repeats)), np.ones(test_cases))
    weights_K = np.ones(len(cells))
    if len(repeats) > 1:
        variance_K = (above_KRC.sum(axis=2) / below_KRC.sum(axis=2)).var(axis=1, ddof=1)
        pooled = pd.Series(variance_K).groupby(cells["number"].to_numpy()).transform("mean")
        if (pooled > 0).all():
            weights_K = (pooled.min() / pooled).to_numpy()
    return np.array(drawn).reshape(len(drawn), len(cells)), own_K, weights_K
