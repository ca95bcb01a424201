"""Made-up surfaces of test Dice over cases and label errors, from a known curve."""

import itertools

import numpy as np
import pandas as pd

from labelnoise.evaluation.budget import Curve
from labelnoise.evaluation.tables import degradation_table

NUMBERS = (2, 4, 8, 16, 32)
CURVE = Curve(
    "control",
    0.9,
    {"control": 0.97, "thick-0.90": 0.96, "thick-0.80": 0.92},
    {"control": 0.12, "thick-0.90": 0.12, "thick-0.80": 0.05},
)
# Dice that does not rise with cases.
FLAT = Curve(
    "control",
    0.9,
    {"control": 0.9, "thick-0.90": 0.89, "thick-0.80": 0.85},
    dict.fromkeys(CURVE.ends, 0.0),
)
LABEL_DICE = {"control": 1.0, "thick-0.90": 0.9, "thick-0.80": 0.8}
BUDGET = {
    "case": 20.0,
    "minute": 1.0,
    "minutes": {"control": 60.0, "thick-0.90": 15.0, "thick-0.80": 5.0},
    "wanted": 0.95,
}
GROUPS = {f"cases-{number}": ("cases", number) for number in NUMBERS}


def study(curve=CURVE, noise=0.002, repeats=3, test_cases=6, models=("unet",), dataset="phantom"):
    """Runs, cases and cells of a study whose Dice is the curve's, with noise of repeat and case."""
    rng = np.random.default_rng(0)
    rows, counts = [], []
    cells = itertools.product(models, range(repeats), NUMBERS, curve.ends)
    of_case = rng.normal(0, noise, (repeats, test_cases))
    for model, repeat, number, error in cells:
        aim = curve.dice(number, error) + of_case[repeat] + rng.normal(0, noise)
        names = {"dataset": dataset, "structure": "liver", "model": model}
        names |= {"recipe": f"cases-{number}", "perturbation": error, "repeat": repeat}
        kind = "control" if error == "control" else "thick"
        rows.append(
            {**names, "kind": kind, "draws": "1", "target_dice": LABEL_DICE[error]}
            | {"label_dice": LABEL_DICE[error], "dice": aim.mean(), "cases": test_cases}
            | {"label_volume_ratio": 1.0, "unit": "mm", "volumetric": True, "tolerance": 2.0}
        )
        right = 1e6 * aim
        table = {"case": [f"c{place}" for place in range(test_cases)], "tp": right}
        table |= {"fp": 1e6 - right, "fn": 1e6 - right, "tn": 1e6}
        counts.append(pd.DataFrame(table).assign(**names))
    runs, cases = pd.DataFrame(rows), pd.concat(counts, ignore_index=True)
    return runs, cases, degradation_table(runs, cases)
