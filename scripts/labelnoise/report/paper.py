"""The numbers of the replicated paper, and this study's beside them.

Heller, Dean and Papanikolopoulos, "Imperfect Segmentation Labels: How Much Do They Matter?", LABELS
at MICCAI 2018, arXiv 1806.04618.
"""

import re

import numpy as np
import pandas as pd

from labelnoise import names
from labelnoise.evaluation.contrasts import CELL, ERRORS, SETTING, case_values, slopes, summarise

# Label Dice that the paper's released severities give, by our errors at 512 x 512 on liver slices
# of LiTS: studies/severities.yaml. Which slices the paper used is not known.
MEASURED = {"natural": (0.965, 0.934, 0.895), "choppy": (0.960, 0.919, 0.883)}
# The paper's, as the studies here name it: liver in the CT of LiTS.
DATASET = "lis"
# Table 1: mean test Dice on liver CT at label Dice 0.95, 0.90 and 0.85. It gives neither spread nor
# number of runs.
TABLE_1: dict[str, dict[str, float | tuple[float, ...]]] = {
    "unet": {
        "control": 0.9134,
        "natural": (0.8880, 0.8193, 0.7521),
        "choppy": (0.8928, 0.8321, 0.8058),
        "random": (0.9124, 0.9213, 0.9182),
    },
    "segnet": {
        "control": 0.8993,
        "natural": (0.8640, 0.8265, 0.7717),
        "choppy": (0.8799, 0.8268, 0.7823),
        "random": (0.9050, 0.9013, 0.9068),
    },
    "fcn32": {
        "control": 0.8870,
        "natural": (0.8587, 0.8250, 0.7581),
        "choppy": (0.8660, 0.8202, 0.7782),
        "random": (0.8881, 0.8751, 0.8676),
    },
}
SIZES = tuple(map(float, names.SIZES.values()))
COMPARED = [
    *CELL,
    *ERRORS,
    "n",
    "cases",
    "label_dice_mean",
    "label_volume_ratio_mean",
    "dice_mean",
    "dice_sd",
    "dice_low",
    "dice_high",
    "left_out",
    "paper_liver_dice",
    "difference",
    "drop_mean",
    "drop_low",
    "drop_high",
    "drop_left_out",
    "paper_liver_drop",
    "drop_difference",
    "precision_mean",
    "recall_mean",
    "volume_ratio_mean",
    "auc_mean",
]


def paper_dice(model: str, kind: str, label_dice: float) -> float:
    """Return the mean test Dice of Table 1, NaN for what it does not contain.

    Args:
        model: `unet`, `segnet` or `fcn32`, as the networks of the paper are named in the config.
        kind: kind of label error, or `control`.
        label_dice: nominal label Dice, 0.95, 0.90 or 0.85; any number for the control.
    """
    row = TABLE_1.get(model, {}).get(kind, np.nan)
    if isinstance(row, float):
        return row
    return dict(zip(SIZES, row, strict=True)).get(round(label_dice, 4), np.nan)


def nominal_dice(perturbation: str, target_dice: float | None) -> float:
    """Return the label Dice that an error should have: its target, or what its name ends in.

    An error that is given by its severity has no target: `natural-s` and `natural-0.95` then stand
    for the 0.95 of the paper. NaN where there is neither.
    """
    if target_dice is not None and not np.isnan(target_dice):
        return float(target_dice)
    tail = perturbation.rpartition("-")[2]
    if re.fullmatch(r"0?\.\d+", tail):
        return float(tail)
    return float(names.SIZES.get(tail, np.nan))


def compare_with_paper(degradation: pd.DataFrame) -> pd.DataFrame:
    """Put the paper's number beside every cell of a study.

    Args:
        degradation: what `tables.degradation_table` returns.

    Returns:
        One row per cell: `paper_liver_dice` (Table 1), `difference` (ours - the paper's), and the
        same of the drop, control Dice minus Dice: `drop_mean`, `paper_liver_drop`,
        `drop_difference`. NaN for datasets, networks and errors that the paper does not have.
    """
    table = degradation.copy()
    nominal = map(nominal_dice, table["perturbation"], table["target_dice"])
    found = pd.Series(list(map(paper_dice, table["model"], table["kind"], nominal)), table.index)
    table["paper_liver_dice"] = found.where(table["dataset"] == DATASET)
    control = np.array([paper_dice(model, "control", 1) for model in table["model"]])
    table["paper_liver_drop"] = control - table["paper_liver_dice"]
    table["difference"] = table["dice_mean"] - table["paper_liver_dice"]
    table["drop_difference"] = table["drop_mean"] - table["paper_liver_drop"]
    return table[COMPARED]


def slopes_beside_paper(runs: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Return test Dice lost per label Dice lost, beside the paper's.

    Args:
        runs: what `tables.runs_table` returns.
        cases: what the runs rest on, see `tables.study_tables`.

    Returns:
        One row per dataset, structure, network, recipe, kind of error and draws (see
        `contrasts.slopes`):
        `slope` with `slope_low`, `slope_high` and `left_out` (see `statistics.intervals`), `n`
        repeats, `runs` of errors, `paper_liver_slope` (the same line through the means of Table 1,
        liver CT, at nominal label Dice), `paper_measured_slope` (at the label Dice that its
        severities give, see MEASURED) and `difference` (ours - the paper's at nominal label Dice).
    """
    blocks = slopes(runs, case_values(cases))
    keys, rows = [*SETTING, *ERRORS], []
    made = runs.groupby([*keys, "repeat"]).size().groupby(keys).max()
    for key, found in summarise(blocks).iterrows():
        row = dict(zip(keys, key, strict=True))
        repeats, cases = blocks[key].shape
        row |= {"n": repeats, "cases": cases, "runs": repeats * made[key]}
        row |= {"slope": found["estimate"]}
        row |= {"slope_low": found["low"], "slope_high": found["high"]}
        row |= {"left_out": found["left_out"]}
        known = row["dataset"] == DATASET
        slope, measured = paper_slopes(row["model"], row["kind"]) if known else (np.nan, np.nan)
        row |= {"paper_liver_slope": slope, "paper_measured_slope": measured}
        rows.append(row)
    numbers = ["n", "cases", "runs", "slope", "slope_low", "slope_high", "left_out"]
    papers = ["paper_liver_slope", "paper_measured_slope"]
    table = pd.DataFrame(rows, columns=[*keys, *numbers, *papers])
    return table.assign(difference=table["slope"] - table["paper_liver_slope"])


def paper_slopes(model: str, kind: str) -> tuple[float, float]:
    """Return the slope of Table 1, computed as ours, at nominal and at MEASURED label Dice.

    NaN for what Table 1 does not contain; random errors have their nominal label Dice.
    """
    losses = [paper_dice(model, "control", 1) - paper_dice(model, kind, size) for size in SIZES]
    nominal, measured = (1 - np.array(sizes) for sizes in (SIZES, MEASURED.get(kind, SIZES)))
    slopes_2 = [(lost * losses).sum() / (lost**2).sum() for lost in (nominal, measured)]
    return slopes_2[0], slopes_2[1]
