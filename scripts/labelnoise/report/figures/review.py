"""Label Dice as the labels of the most suspicious slices are mended, by detector."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from labelnoise.evaluation.review import IDEAL, RANDOM
from labelnoise.report import style
from labelnoise.report.figures.canvas import (
    dice_limits,
    empty_figure,
    grouped_legend,
    name_row,
    panel_grid,
    styled,
)

HEIGHT = 1.45  # inches, of a row
# Colour and line of each detector; the yardsticks are the broken lines.
DETECTORS = {
    "cleanlab_softmin": ("#CC79A7", "-"),
    "loss": ("#0072B2", "-"),
    "disagreement": ("#D55E00", "-"),
    "entropy": ("#009E73", (0, (4, 1.2))),
    "area": ("#E69F00", (0, (1, 1))),
}
ORDERS = {IDEAL: {"color": "black", "linewidth": 0.8}, RANDOM: {"color": "0.55", "linewidth": 0.8}}
NAMES = {
    "cleanlab_softmin": "cleanlab (soft minimum)",
    "loss": "loss",
    "disagreement": "disagreement, 1 − Dice",
    "entropy": "entropy (sees no label)",
    "area": "area (sees no network)",
    IDEAL: "ideal: most wrong pixels first",
    RANDOM: "any order",
}


@styled
def draw_review(curves: pd.DataFrame, split: str) -> Figure:
    """Draw label Dice against the share of slices that are looked at and mended.

    One row of panels per dataset, network and recipe, one column per label error, one line per
    detector: means over repeats. The most suspicious slices come first. No order mends faster than
    the ideal one, and one that is below the grey line is worse than chance.

    Args:
        curves: the second table that `review.grade_detectors` returns.
        split: "train" or "test", of the slices.
    """
    curves = curves[(curves["split"] == split) & (curves["unit"] == "slice")]
    if curves.empty:
        return empty_figure(f"no label error in slices of the {split} split: nothing to mend")
    rows = list(dict.fromkeys(zip(*(curves[key] for key in KEYS), strict=True)))
    shown = style.perturbations_of(curves)
    errors = list(dict.fromkeys(curves["perturbation"]))
    figure, axes = panel_grid(
        len(rows),
        [shown[name] for name in errors],
        HEIGHT,
        0.8,
        len(errors) > 1,
        xlabel="slices looked at",
    )
    for row_axes, row in zip(axes, rows, strict=True):
        here = curves[
            np.logical_and.reduce(
                [curves[key] == name for key, name in zip(KEYS, row, strict=True)]
            )
        ]
        row_axes[0].set_ylim(dice_limits(here["label_dice_mean"]))
        for panel, error in zip(row_axes, errors, strict=True):
            _draw_panel(panel, here[here["perturbation"] == error])
        dataset, model, recipe = map(style.display, row)
        several = f"\n{model}, {recipe}" if len(rows) > 1 else ""
        name_row(row_axes, f"{dataset}{several}\nlabel Dice", HEIGHT)
    axes[0, 0].set(xlim=(0, 1), xticks=(0.25, 0.5, 0.75))
    axes[0, 0].xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    found = list(dict.fromkeys(curves["detector"]))
    entries = [(NAMES[name], Line2D([], [], **_look(name))) for name in found]
    grouped_legend(figure, [entries[:-2], entries[-2:]])
    return figure


KEYS = ["dataset", "model", "recipe"]


def _draw_panel(panel, curves):
    for detector, line in curves.groupby("detector", sort=False):
        label = f"_{detector}"
        panel.plot(line["share"], line["label_dice_mean"], label=label, **_look(detector))


def _look(detector):
    if detector in ORDERS:
        return {**ORDERS[detector], "zorder": 2}
    color, line = DETECTORS[detector]
    return {"color": color, "linestyle": line, "zorder": 3}
