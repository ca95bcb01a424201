"""Runs tables without files: what the summaries need, with a given Dice."""

import numpy as np
import pandas as pd

from synthetic_runs import matrix

SIZES = (0.95, 0.90, 0.85)
KINDS = ("natural", "choppy", "random")
# Dice lost for each label Dice lost, before the noise of a repeat.
COST = {"control": 0.0, "natural": 1.0, "choppy": 0.5, "random": 0.0}


def runs_of(dice_of, runs):
    """The table of `runs`, whose Dice is what `dice_of` a run is; other scores are constant."""
    names = ["dataset", "model", "recipe", "perturbation", "kind", "repeat"]
    rows = [
        {name: run[name] for name in names}
        | {"structure": "liver", "target_dice": run["size"], "label_dice": run["size"] or 1.0}
        | {"dice": dice_of(run), "dice_case": 0.5, "precision": 0.6, "recall": 0.7}
        | {"volume_ratio": 1.1, "auc": 0.99}
        for run in runs
    ]
    return pd.DataFrame(rows)


def proportional_runs(models=("unet", "mine"), datasets=("lis",), repeats=3, noise=0.0):
    """A table in which Dice falls in proportion to the label error, by 10 % more each repeat."""
    rng = np.random.default_rng(0)

    def dice_of(run):
        cost = COST[run["kind"]] * (1 + 0.1 * run["repeat"])
        loss = cost * (1 - (run["size"] or 1.0))
        return 0.9 + 0.01 * run["repeat"] - loss + rng.normal(0, noise)

    return runs_of(dice_of, matrix(datasets, models, ("plain",), KINDS, SIZES, repeats))
