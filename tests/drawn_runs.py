"""Runs and counts drawn at random with known variances, without files."""

import numpy as np
import pandas as pd

from labelnoise.evaluation.contrasts import CELL
from synthetic_runs import matrix

REPEATS, CASES = 3, 8


def tables(
    lost=0.0, datasets=("lis",), repeats=REPEATS, cases=CASES, seed=0, noise=1.0, given_back=0.0
):
    """Runs and counts of two networks, whose Dice under a natural error is lower by `lost`.

    Args:
        lost: {network: Dice}, or Dice for both.
        noise: scale of the variation between repeats, between cases and of the residual.
        given_back: share of what is lost that the threshold chosen on clean labels gives back.
    """
    rng = np.random.default_rng(seed)
    runs = pd.DataFrame(matrix(datasets, ("unet", "segnet"), sizes=(0.9,), repeats=repeats))
    runs = runs.assign(structure="liver", draws="1", label_dice=runs["size"].fillna(1.0))
    names = [f"case{index}" for index in range(cases)]
    of_case = rng.normal(0, 0.03, (len(datasets), cases)).repeat(4 * repeats, axis=0)
    of_cell = rng.normal(0, 0.01, (4 * len(datasets), cases)).repeat(repeats, axis=0)
    dice = 0.85 + noise * (
        of_case + of_cell + rng.normal(0, 0.01, (len(runs), 1)) + rng.normal(0, 0.01, of_cell.shape)
    )
    lost = runs["model"].map(lost if isinstance(lost, dict) else lambda model: lost)
    lost_RC = (lost * (runs["kind"] == "natural")).to_numpy()[:, None]
    wrong, wrong_at = (1000 * (1 / (dice - part * lost_RC) - 1) for part in (1, 1 - given_back))
    counts = runs.loc[runs.index.repeat(cases), [*CELL, "repeat"]].reset_index(drop=True)
    counts["case"] = names * len(runs)
    counts["tp"], counts["fp"], counts["fn"], counts["tn"] = 1000, wrong.ravel(), wrong.ravel(), 9
    # At the other threshold the same pixels are found, and others are painted besides; Dice counts
    # both kinds of error alike.
    counts["tp_at_clean"], counts["fp_at_clean"] = 1000, (2 * wrong_at - wrong).ravel()
    counts["tp_at_loss"] = counts["fp_at_loss"] = np.nan
    counts["hd95"] = 100 * (1 - dice + lost_RC).ravel()
    return runs, counts
