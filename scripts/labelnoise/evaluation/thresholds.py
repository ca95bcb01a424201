"""The drop of each error taken apart: what another threshold gives back, and what stays."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from labelnoise.evaluation.contrasts import (
    CELL,
    ERRORS,
    Blocks,
    case_values,
    dice_at,
    drops,
    levels,
    summarise,
    threshold_parts,
)
from labelnoise.evaluation.histograms import THRESHOLDS
from labelnoise.evaluation.tables import pool_folds
from labelnoise.folds import base_of

# Where masks are scored: a probability of 0.5.
HALF = "half"
BOUNDS = ("low", "high")
# What a ceiling is of; networks share it.
CEILING = ["dataset", "structure", "recipe", "perturbation"]


def thresholds_table(
    runs: pd.DataFrame, cases: pd.DataFrame, ceilings: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return Dice and drop of every cell at each threshold.

    Args:
        runs: what `tables.runs_table` returns.
        cases: what the runs rest on, see `tables.study_tables`.
        ceilings: what `ceiling.estimate_ceiling` writes, of all datasets and perturbations.

    Returns:
        Rows of a cell: one at HALF, a probability of 0.5, and one at each of
        `histograms.THRESHOLDS`. `decision` is which; `threshold` its mean probability over repeats;
        `dice_...` and `drop_...` as in `tables.degradation_table`, there; `part_...`, the drop at
        HALF minus the drop here, is what this threshold gives back of it. All have `..._mean`,
        `..._low` and `..._high`, the 95 % interval over `n` repeats and `cases`, and `left_out`.
        `ceiling_dice` is the ceiling's Dice: at HALF where the recipe's loss decides, at `loss`
        where P is over 1/2, NaN elsewhere.
    """
    runs = pool_folds(runs, cases)
    known = {} if ceilings is None else _ceiling_dice(ceilings)
    values = {HALF: case_values(cases)}
    values |= {name: case_values(cases, dice_at(name)) for name in THRESHOLDS}
    lost = {name: drops(runs, of) for name, of in values.items()}
    found = pd.concat(
        [_at_decision(name, runs, of, lost) for name, of in values.items()], ignore_index=True
    )
    keys = found[[*CEILING, "decision"]].itertuples(index=False, name=None)
    found["ceiling_dice"] = [known.get(key, np.nan) for key in keys]
    # All thresholds of a cell together, in the order of the runs.
    order = {cell: place for place, cell in enumerate(_cells(found))}
    return found.iloc[np.argsort([order[cell] for cell in _cells(found)], kind="stable")]


def _at_decision(
    decision: str, runs: pd.DataFrame, values: pd.DataFrame, lost: Mapping[str, Blocks]
) -> pd.DataFrame:
    half = decision == HALF
    contrasts = {"dice": levels(values), "drop": lost[decision]}
    contrasts["part"] = {} if half else threshold_parts(lost[HALF], lost[decision])
    summaries = {name: summarise(blocks) for name, blocks in contrasts.items()}
    rows = []
    for key, cell in runs.groupby(CELL, sort=False):
        row = dict(zip(CELL, key, strict=True))
        row |= {name: cell[name].iloc[0] for name in ERRORS}
        row |= {"n": len(cell), "cases": int(cell["cases"].iloc[0]), "decision": decision}
        row["threshold"] = 0.5 if half else cell[f"threshold_{decision}"].mean()
        row["left_out"] = summaries["dice"].loc[key, "left_out"]
        for name, summary in summaries.items():
            known = summary.loc[key] if key in contrasts[name] else pd.Series(dtype=float)
            row[f"{name}_mean"] = known.get("estimate", np.nan)
            row |= {f"{name}_{bound}": known.get(bound, np.nan) for bound in BOUNDS}
        rows.append(row)
    return pd.DataFrame(rows)


def _ceiling_dice(ceilings: pd.DataFrame) -> dict[tuple, float]:
    """Return Dice by dataset, structure, recipe, perturbation and decision; of folds the mean."""
    found = {}
    ceilings = ceilings.assign(dataset=ceilings["dataset"].map(base_of))
    means = ceilings.groupby(CEILING, sort=False)[["dice", "dice_at_half"]].mean()
    for row in means.reset_index().to_dict("records"):
        key = tuple(row[name] for name in CEILING)
        found |= {(*key, HALF): row["dice"], (*key, "loss"): row["dice_at_half"]}
    return found


def _cells(table: pd.DataFrame) -> list[tuple]:
    return list(table[CELL].itertuples(index=False, name=None))
