"""What mitigations give back of the Dice that label errors cost, and what they cost themselves.

A mitigation is another recipe than the baseline's, or the baseline's own networks decided at
another threshold, which costs no training.
"""

from collections.abc import Hashable, Mapping

import pandas as pd

from labelnoise.evaluation.contrasts import (
    ERRORS,
    FAMILY,
    Blocks,
    case_values,
    dice_at,
    drops,
    levels,
    summarise,
)
from labelnoise.evaluation.tables import pool_folds
from labelnoise.evaluation.thresholds import BOUNDS, HALF

# The thresholds that are chosen on validation slices, with labels of either quality.
CHOSEN = ("clean", "perturbed")
STATISTICS = ("mean", *BOUNDS)
PLACE = [*FAMILY, "model", "perturbation"]
COLUMNS = [*PLACE, *ERRORS, "label_dice", "recipe", "at"]
COLUMNS += ["n", "cases", "left_out"]
COLUMNS += [f"{of}_{which}" for of in ("lost", "gained", "share", "cost") for which in STATISTICS]


def mitigation_table(runs: pd.DataFrame, cases: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Return what each mitigation gives back of what each error costs the baseline.

    Args:
        runs: what `tables.runs_table` returns.
        cases: what the runs rest on, see `tables.study_tables`.
        baseline: the recipe that the others are held against.

    Returns:
        A row per dataset, structure, network, error and mitigation, as far as there are scores of
        it. A mitigation is a `recipe` and the threshold `at` which it decides, HALF or one of
        CHOSEN. All in test Dice and in pairs of equal repeat and case: `lost`, by the baseline
        against its control; `gained`, by the mitigation against the baseline, under the error;
        `share`, the latter over the former, where the interval of what is lost lies above 0;
        `cost`, by the mitigation against the baseline, on clean labels. Each has `..._mean`,
        `..._low` and `..._high`, the 95 % interval over `n` repeats and `cases`, NaN where a
        control is missing; `left_out` is of `gained`.
    """
    runs = pool_folds(runs, cases)
    half = case_values(cases)
    found = {HALF: levels(half)}
    found |= {name: levels(case_values(cases, dice_at(name))) for name in CHOSEN}
    # As claims have it, one prior for all differences that label errors make vary.
    fitted = drops(runs, half)
    lost = {(*cell[:3], cell[4]): block for cell, block in fitted.items() if cell[3] == baseline}
    gained, cost = _against(runs, found, baseline)
    of_lost, of_gained, of_cost = (
        summarise(lost, fitted),
        summarise(gained, fitted),
        summarise(cost),
    )
    # Of what is lost for certain.
    whole = {
        key: float(of_lost.loc[key[:4], "estimate"])
        for key in gained
        if key[:4] in lost and of_lost.loc[key[:4], "low"] > 0
    }
    of_share = summarise({key: _part(gained[key], lost[key[:4]]) for key in whole}, fitted)
    cells = runs.groupby(PLACE, sort=False)
    labels, first = cells["label_dice"].mean(), cells[[*ERRORS, "cases"]].first()
    rows = [
        {
            **dict(zip([*PLACE, "recipe", "at"], key, strict=True)),
            **first.loc[key[:4]].to_dict(),
            "label_dice": labels[key[:4]],
            "n": len(block),
            "left_out": of_gained.loc[key, "left_out"],
            **_interval("lost", of_lost, key[:4]),
            **_interval("gained", of_gained, key),
            **_interval("share", of_share, key, whole.get(key, 1.0)),
            **_interval("cost", of_cost, (*key[:3], *key[4:])),
        }
        for key, block in gained.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _against(
    runs: pd.DataFrame, found: Mapping[str, Blocks], baseline: str
) -> tuple[Blocks, Blocks]:
    """Return what each mitigation gains on the baseline under each error, and loses on its control.

    Args:
        runs: the runs.
        found: {threshold: the levels there}.
        baseline: the recipe.

    Returns:
        {(*PLACE, recipe, threshold): gained} and {(dataset, structure, model, recipe, threshold):
        lost}, where both sides have scores.
    """
    ways = [(name, HALF) for name in runs["recipe"].unique() if name != baseline]
    ways += [(baseline, name) for name in CHOSEN]
    gained: Blocks = {}
    cost: Blocks = {}
    for *where, error, kind in runs[[*PLACE, "kind"]].drop_duplicates().itertuples(index=False):
        base = found[HALF].get((*where, baseline, error))
        for recipe, at in ways:
            other = found[at].get((*where, recipe, error))
            if base is None or other is None or base.isna().all(axis=None):
                continue
            change = (other - base).dropna(how="all")
            if change.empty:
                continue
            if kind == "control":
                cost[*where, recipe, at] = -change
            else:
                gained[*where, error, recipe, at] = change
    return gained, cost


def _part(gained: pd.DataFrame, lost: pd.DataFrame) -> pd.DataFrame:
    """Return values that vary as the ratio of two means does, times the latter.

    Their mean is that of `gained`. The ratio is linearised as in `pooled_ratio_values`.
    """
    gained, lost = gained.align(lost, join="inner")
    total = lost.mean(axis=None)
    return gained - gained.mean(axis=None) / total * (lost - total)


def _interval(
    name: str, summary: pd.DataFrame, key: tuple[Hashable, ...], unit: float = 1.0
) -> dict[str, float]:
    """Return the columns of a contrast, NaN where there is none, in a unit."""
    row = summary.loc[key] if key in summary.index else {}
    columns = {"mean": "estimate"} | dict(zip(BOUNDS, BOUNDS, strict=True))
    return {f"{name}_{to}": row.get(of, float("nan")) / unit for to, of in columns.items()}
