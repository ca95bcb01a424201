"""What mitigations give back of the Dice that label errors cost, and what they cost themselves.

A mitigation is another recipe than the baseline's, or the baseline's own networks decided at
another threshold, which costs no training.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from labelnoise.evaluation.contrasts import (
    ERRORS,
    FAMILY,
    Blocks,
    case_values,
    controls,
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
COLUMNS = [*FAMILY, "model", "perturbation", *ERRORS, "label_dice", "recipe", "at"]
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
    scores = {HALF: case_values(cases)}
    scores |= {name: case_values(cases, dice_at(name)) for name in CHOSEN}
    found = {name: levels(of) for name, of in scores.items()}
    control_of = controls(runs)
    # As claims have it, one prior for all differences of two cells.
    fitted = drops(runs, scores[HALF])
    lost = {(*cell[:3], cell[4]): block for cell, block in fitted.items() if cell[3] == baseline}
    ways = [(name, HALF) for name in runs["recipe"].unique() if name != baseline]
    ways += [(baseline, name) for name in CHOSEN]
    gained: Blocks = {}
    cost: Blocks = {}
    rows: list[dict[str, Any]] = []
    errors = runs[runs["kind"] != "control"]
    for place, cell in errors.groupby([*FAMILY, "model", "perturbation"], sort=False):
        where, error = place[:3], place[3]
        about = {name: cell[name].iloc[0] for name in ERRORS}
        about |= {"label_dice": cell["label_dice"].mean(), "cases": int(cell["cases"].iloc[0])}
        for recipe, at in ways:
            key, own = (*place, recipe, at), (*where, recipe, at)
            sides = (found[at], (*where, recipe, error)), (found[HALF], (*where, baseline, error))
            if not all(_known(*side) for side in sides):
                continue
            better, base = (blocks[side] for blocks, side in sides)
            gained[key] = (better - base).dropna(how="all")
            clean = [control_of.get((*where, name), ()) for name in (baseline, recipe)]
            if _known(found[HALF], clean[0]) and _known(found[at], clean[1]):
                cost[own] = (found[HALF][clean[0]] - found[at][clean[1]]).dropna(how="all")
            names = dict(zip([*FAMILY, "model", "perturbation"], place, strict=True))
            rows.append({**names, **about, "recipe": recipe, "at": at, "key": key, "own": own})
    of_lost, of_gained, of_cost = (summarise(blocks, fitted) for blocks in (lost, gained, cost))
    # Of what is lost for certain.
    whole = {
        key: float(of_lost.loc[key[:4], "estimate"])
        for key in gained
        if key[:4] in lost and of_lost.loc[key[:4], "low"] > 0
    }
    parts = {key: _part(gained[key], lost[key[:4]]) for key in whole}
    of_parts = summarise(parts, fitted)
    for row in rows:
        key, own = row.pop("key"), row.pop("own")
        row["n"], row["left_out"] = len(gained[key]), of_gained.loc[key, "left_out"]
        row |= _interval("lost", _of(of_lost, key[:4]))
        row |= _interval("gained", _of(of_gained, key))
        row |= _interval("share", _of(of_parts, key), whole.get(key, 1.0))
        row |= _interval("cost", _of(of_cost, own))
    return pd.DataFrame(rows, columns=COLUMNS)


def _known(blocks: Blocks, cell: tuple[Hashable, ...]) -> bool:
    """Return whether a cell has scores."""
    return cell in blocks and not blocks[cell].isna().all(axis=None)


def _part(gained: pd.DataFrame, lost: pd.DataFrame) -> pd.DataFrame:
    """Return values that vary as the ratio of two means does, times the latter.

    Their mean is that of `gained`. The ratio is linearised as in `pooled_ratio_values`.
    """
    gained, lost = gained.align(lost, join="inner")
    total = lost.mean(axis=None)
    return gained - gained.mean(axis=None) / total * (lost - total)


def _of(summary: pd.DataFrame, key: tuple[Hashable, ...]) -> Mapping[str, Any]:
    return summary.loc[key].to_dict() if key in summary.index else {}


def _interval(name: str, row: Mapping[str, Any], unit: float = 1.0) -> dict[str, float]:
    found = {"mean": row.get("estimate", float("nan"))}
    found |= {bound: row.get(bound, float("nan")) for bound in BOUNDS}
    return {f"{name}_{which}": value / unit for which, value in found.items()}
