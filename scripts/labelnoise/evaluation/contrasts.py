"""Levels, drops and slopes of a study, each with its interval over repeats and test cases.

A contrast is kept as a block: a DataFrame of its values, a row per repeat and a column per case.
"""

from collections.abc import Callable, Collection, Hashable, Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from labelnoise.counts import COUNTS, dice
from labelnoise.evaluation.histograms import THRESHOLDS
from labelnoise.evaluation.statistics import intervals, left_out, pooled_ratio_values

# Runs whose test pixels are the same; the variances between their repeats share a prior.
FAMILY = ["dataset", "structure"]
SETTING = [*FAMILY, "model", "recipe"]
CELL = [*SETTING, "perturbation"]
# Errors that a slope is over: fixed and fresh labels of one kind are two things.
ERRORS = ["kind", "draws"]

Blocks = dict[tuple[Hashable, ...], pd.DataFrame]
# What a score is of: counts of a sum over cases and of the sum that it is divided by; or values
# whose mean it is, and None.
Parts = tuple[Any, Any]
# Columns of counts, or their sums over cases.
Counts: TypeAlias = pd.DataFrame | Mapping[str, float]


def dice_at(threshold: str) -> str:
    """Return the measure that is Dice at one of `histograms.THRESHOLDS`."""
    return f"dice_at_{threshold}"


def _dice(cases: Counts) -> Parts:
    return 2 * cases["tp"], 2 * cases["tp"] + cases["fp"] + cases["fn"]


def _dice_at(threshold: str, cases: Counts) -> Parts:
    tp, fp = cases[f"tp_at_{threshold}"], cases[f"fp_at_{threshold}"]
    return 2 * tp, tp + fp + cases["tp"] + cases["fn"]


def _dice_apparent(cases: Counts) -> Parts:
    tp, fp, fn = (cases[f"{name}_apparent"] for name in ("tp", "fp", "fn"))
    return 2 * tp, 2 * tp + fp + fn


def _dice_case(cases: pd.DataFrame) -> Parts:
    return dice(cases[list(COUNTS)].to_numpy()), None


def _column(name: str, cases: pd.DataFrame) -> Parts:
    return cases[name], None


# Scores that are better where they are lower: what an error costs is their rise.
FALLING = ("hd95",)
# Scores of a run, by name: pooled over all test pixels, or means over test cases.
MEASURES: dict[str, Callable[[Any], Parts]] = {
    "dice": _dice,
    "precision": lambda cases: (cases["tp"], cases["tp"] + cases["fp"]),
    "recall": lambda cases: (cases["tp"], cases["tp"] + cases["fn"]),
    "volume_ratio": lambda cases: (cases["tp"] + cases["fp"], cases["tp"] + cases["fn"]),
    "dice_case": _dice_case,
    "dice_apparent": _dice_apparent,
    **{dice_at(name): partial(_dice_at, name) for name in THRESHOLDS},
    **{name: partial(_column, name) for name in ("auc", "average_precision")},
    **{name: partial(_column, name) for name in ("hd95", "surface_dice")},
}


def case_values(cases: pd.DataFrame, measure: str = "dice") -> pd.DataFrame:
    """Return values per run and case whose mean over cases is a score of the run.

    Args:
        cases: counts and scores per run, structure and case, see `tables.study_tables`.
        measure: a key of MEASURES; those that are pooled over all test pixels are linearised, see
            `statistics.pooled_ratio_values`.

    Returns:
        One row per run and structure, indexed by CELL and repeat; a column per case, NaN for the
        cases of other datasets and where the measure is undefined.
    """
    frames, names = [], [*CELL, "repeat"]
    for _, family in cases.groupby(FAMILY, sort=False):
        numerator, denominator = MEASURES[measure](family)
        parts = {"numerator": numerator, "denominator": denominator}
        wide = family[[*names, "case"]].assign(**parts)
        wide = wide.pivot(index=names, columns="case", values=[*parts]).astype(float)
        # Pivoting sorts; the order is that of the study.
        wide = wide.reindex(pd.MultiIndex.from_frame(family[names].drop_duplicates()))
        values = wide["numerator"]
        if denominator is not None:
            pooled = pooled_ratio_values(values.to_numpy(), wide["denominator"].to_numpy())
            values = pd.DataFrame(pooled, values.index, values.columns)
        frames.append(values)
    return pd.concat(frames)


def pooled_score(totals: Mapping[str, float], measure: str) -> float:
    """Return a score pooled over test pixels, NaN where it is undefined.

    Args:
        totals: {column of the counts of cases: its sum over the cases} of one run and structure.
        measure: a key of MEASURES that is a ratio of sums.
    """
    numerator, total = MEASURES[measure](totals)
    return float(numerator / total) if total else np.nan


def gains(cases: pd.DataFrame, measure: str = "dice") -> pd.DataFrame:
    """Return `case_values`, their sign turned where lower is better, so that a drop is a loss."""
    values = case_values(cases, measure)
    return -values if measure in FALLING else values


def levels(values: pd.DataFrame) -> Blocks:
    """Return the block of each cell; for the argument see `case_values`."""
    return {
        _key(cell): block.droplevel(CELL).dropna(axis=1, how="all")
        for cell, block in values.groupby(CELL, sort=False)
    }


def drops(runs: pd.DataFrame, values: pd.DataFrame) -> Blocks:
    """Return control minus cell, in pairs of equal repeat and case, of each cell with a control.

    The control itself has no drop: values of 0 by definition tell nothing about a variance.

    Args:
        runs: what `tables.runs_table` returns; says which cells are controls.
        values: see `case_values`.
    """
    blocks, controls = levels(values), _controls(runs)
    return {
        cell: (blocks[controls[cell[:-1]]] - block).dropna(how="all")
        for cell, block in blocks.items()
        if controls.get(cell[:-1], cell) != cell
    }


def threshold_parts(half: Blocks, other: Blocks) -> Blocks:
    """Return what of each drop is the threshold's: the drop at 0.5 minus that at another threshold.

    Control and error each have their own threshold, as whoever trains on such labels would have.

    Args:
        half, other: what `drops` returns of Dice at a probability of 0.5, and at the other one.
    """
    return {cell: block - other[cell] for cell, block in half.items()}


def slopes(runs: pd.DataFrame, values: pd.DataFrame) -> Blocks:
    """Return Dice lost for each label Dice lost, by SETTING, kind of error and how it is drawn.

    In each repeat and case, the slope of the least-squares line through the origin of the drops on
    1 - label Dice, over all errors of the kind that are drawn alike; repeats that lack one of them
    are left out. Of folds, label Dice is the mean.

    Args:
        runs: what `tables.runs_table` returns; gives kind, draws and label Dice of each run.
        values: see `case_values`.
    """
    found: dict[tuple[Hashable, ...], list] = {}
    losses = 1 - runs.groupby([*CELL, "repeat"], sort=False)["label_dice"].mean()
    errors = runs.drop_duplicates(CELL).set_index(CELL)[ERRORS]
    for cell, block in drops(runs, values).items():
        loss = losses.xs(cell, level=CELL).reindex(block.index)
        found.setdefault((*cell[:-1], *errors.loc[cell]), []).append((loss, block))
    return {key: _slope(pairs) for key, pairs in found.items()}


def summarise(
    blocks: Mapping[tuple[Hashable, ...], pd.DataFrame], fitted: Blocks | None = None
) -> pd.DataFrame:
    """Return the interval of each contrast, over repeats and cases.

    Args:
        blocks: {key: block}, the keys starting with FAMILY.
        fitted: contrasts that the prior of the variances between repeats is fitted to, in families
            as well; those of `blocks` where it has none.

    Returns:
        What `statistics.intervals` returns, and `left_out`, what the interval does not cover; the
        index is the keys, in their order.
    """
    frames, priors = [], families(fitted or {})
    for name, family in families(blocks).items():
        array_KRC = stack(family.values())
        prior_KRC = stack(priors[name].values()) if name in priors else None
        table = intervals(array_KRC, fitted_KRC=prior_KRC).assign(left_out=left_out(array_KRC))
        frames.append(table.set_index(pd.MultiIndex.from_tuples(list(family))))
    return pd.concat(frames).loc[list(blocks)] if frames else pd.DataFrame()


def _controls(runs: pd.DataFrame) -> dict[tuple[Hashable, ...], tuple[Hashable, ...]]:
    """Return the control's cell of each dataset, structure, network and recipe that has one."""
    cells = runs.loc[runs["kind"] == "control", CELL].drop_duplicates()
    return {tuple(cell[:-1]): tuple(cell) for cell in cells.itertuples(index=False, name=None)}


def _slope(pairs: list[tuple[pd.Series, pd.DataFrame]]) -> pd.DataFrame:
    weight = sum(loss**2 for loss, _ in pairs)
    total = sum(block.mul(loss, axis=0) for loss, block in pairs)
    return total.div(weight.where(weight > 0), axis=0).dropna(how="all")


def families(blocks: Mapping[tuple[Hashable, ...], pd.DataFrame]) -> dict[tuple, Blocks]:
    """Return the blocks of each FAMILY, with which their keys start."""
    found: dict[tuple, Blocks] = {}
    for key, block in blocks.items():
        found.setdefault(key[: len(FAMILY)], {})[key] = block
    return found


def stack(blocks: Collection[pd.DataFrame]) -> np.ndarray:
    """Return blocks as one array (K, R, C), NaN where a block lacks a repeat or a case."""
    repeats = sorted(set().union(*(block.index for block in blocks)))
    cases = sorted(set().union(*(block.columns for block in blocks)))
    return np.stack([block.reindex(index=repeats, columns=cases).to_numpy() for block in blocks])


def _key(cell: Hashable) -> tuple[Hashable, ...]:
    return cell if isinstance(cell, tuple) else (cell,)
