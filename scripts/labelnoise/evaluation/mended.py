"""Test Dice of networks trained again on labels of which the first suspects were mended."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from labelnoise.counts import COUNTS, dice
from labelnoise.evaluation.tables import chosen_counts, spread
from labelnoise.files import read_json
from labelnoise.folds import base_of
from labelnoise.study import Results, Run, RunFolder

SETTING = ["dataset", "structure", "model", "recipe"]
# Labels that nobody looked at again.
UNMENDED = "none"


def mended_table(runs: Iterable[Run], results: Results, orders: Iterable[str]) -> pd.DataFrame:
    """Return test Dice before and after labels were mended.

    Args:
        runs: of label errors, and controls.
        results: the study's results tree.
        orders: in which slices were looked at; controls are not mended.

    Returns:
        One row per structure, cell and `order`, UNMENDED first: `dice_mean` and `dice_sd` of test
        Dice, pooled over all test pixels, over `n` repeats; `gain_mean` and `gain_sd` of what it is
        above that of the same repeat without mending.

    Raises:
        InputError: a file is missing or damaged.
    """
    rows = []
    for run in runs:
        measured = read_json(results.fill(results.measured, run), ("kind", "draws"))
        kind = measured.get("family", measured["kind"])
        folders = {UNMENDED: results.run_folder(run)}
        if measured["kind"] != "control":
            folders |= {order: results.mended_folder(run, order) for order in orders}
        for order, folder in folders.items():
            names: dict[str, Any] = {
                "dataset": base_of(run.dataset),
                "model": run.model,
                "recipe": run.recipe,
            }
            names |= {"perturbation": run.perturbation, "kind": kind, "order": order}
            names |= {"draws": str(measured["draws"]), "repeat": run.repeat}
            rows += [{**names, **counts} for counts in _counts(folder)]
    keys = [*SETTING, "perturbation", "kind", "draws", "order", "repeat"]
    # Of a dataset with folds, all test cases of a repeat.
    pooled = pd.DataFrame(rows).groupby(keys, sort=False)[list(COUNTS)].sum().reset_index()
    pooled["dice"] = dice(pooled[list(COUNTS)].to_numpy())
    found = []
    for key, cell in pooled.groupby([*SETTING, "perturbation"], sort=False):
        by_order = cell.pivot(index="repeat", columns="order", values="dice")
        about = {**dict(zip([*SETTING, "perturbation"], key, strict=True))}
        about |= {name: cell[name].iloc[0] for name in ("kind", "draws")}
        for order in dict.fromkeys(cell["order"]):
            row = {**about, "order": order, "n": len(by_order)}
            gains = by_order[order] - by_order[UNMENDED]
            for name, values in (("dice", by_order[order]), ("gain", gains)):
                summary = spread(values)
                row |= {f"{name}_{statistic}": summary[statistic] for statistic in ("mean", "sd")}
            found.append(row)
    return pd.DataFrame(found)


def _counts(folder: RunFolder) -> list[dict]:
    """Return tp, fp, fn and tn of each structure at the chosen checkpoint of a run."""
    sums = (
        chosen_counts(folder).groupby("structure", sort=False)[list(COUNTS)].sum().astype(np.int64)
    )
    return sums.reset_index().to_dict("records")
