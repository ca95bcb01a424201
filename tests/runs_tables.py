"""Runs tables without files: what the summaries need, with a given Dice."""

import numpy as np
import pandas as pd

from labelnoise.evaluation.contrasts import CELL
from synthetic_runs import matrix

SIZES = (0.95, 0.90, 0.85)
KINDS = ("natural", "choppy", "random")
# Other scores, equal in all runs.
SCORES = ("average_precision", "dice_apparent", "hd95", "surface_dice")
# Dice lost for each label Dice lost, before the noise of a repeat.
COST = {"control": 0.0, "natural": 1.0, "choppy": 0.5, "random": 0.0}


def runs_of(dice_of, runs):
    """The table of `runs`, whose Dice is what `dice_of` a run is; other scores are constant."""
    names = ["dataset", "model", "recipe", "perturbation", "kind", "repeat"]
    rows = [
        {name: run[name] for name in names}
        | {"draws": str(run.get("draws", 1))}
        | {"structure": "liver", "target_dice": run["size"], "label_dice": run["size"] or 1.0}
        | {"dice": dice_of(run), "dice_case": 0.5, "precision": 0.6, "recall": 0.7}
        | {"volume_ratio": 1.1, "label_volume_ratio": 1.02, "auc": 0.99, "cases": 3}
        | dict.fromkeys(SCORES, 0.9)
        | {"unit": "mm", "volumetric": False, "tolerance": 2.0}
        for run in runs
    ]
    return pd.DataFrame(rows)


def values_of(runs, cases=("a", "b", "c")):
    """Values per run and case of a table of runs, equal in all cases.

    So the interval of a contrast is that over repeats: the t-interval, where fewer than three
    contrasts of a dataset share a prior.
    """
    index = pd.MultiIndex.from_frame(runs[[*CELL, "repeat"]])
    return pd.DataFrame({case: runs["dice"].to_numpy() for case in cases}, index)


def cases_of(runs, cases=("a", "b", "c")):
    """What a table of runs rests on: counts whose Dice is the run's in all cases."""
    names = [*CELL, "repeat", "dice", "auc", "average_precision", "hd95", "surface_dice"]
    counts = runs[names].merge(pd.Series(list(cases), name="case"), "cross")
    right, wrong = 1e6 * counts["dice"], 1e6 * (1 - counts["dice"])
    apparent = {"tp_apparent": right, "fp_apparent": wrong, "fn_apparent": wrong}
    return counts.assign(tp=right, fp=wrong, fn=wrong, tn=1e6, **apparent)


def proportional_runs(
    models=("unet", "mine"), datasets=("lis",), kinds=KINDS, repeats=3, noise=0.0
):
    """A table in which Dice falls in proportion to the label error, by 10 % more each repeat."""
    rng = np.random.default_rng(0)

    def dice_of(run):
        cost = COST[run["kind"]] * (1 + 0.1 * run["repeat"])
        loss = cost * (1 - (run["size"] or 1.0))
        return 0.9 + 0.01 * run["repeat"] - loss + rng.normal(0, noise)

    return runs_of(dice_of, matrix(datasets, models, ("plain",), kinds, SIZES, repeats))
