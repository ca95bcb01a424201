"""Dice lost to each error, taken apart: what another threshold gives back, and what stays."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from labelnoise.evaluation.thresholds import HALF
from labelnoise.report import style
from labelnoise.report.figures.canvas import (
    covered,
    empty_figure,
    grouped_legend,
    panel_grid,
    styled,
)

# The threshold that the drop is taken apart by, and a row's share of its room.
CHOSEN = "clean"
THICK, THIN = 0.5, 0.18
GIVEN_BACK = {"alpha": 0.35, "hatch": "////", "edgecolor": "0.15", "linewidth": 0.4}
STAYS = {"edgecolor": "0.15", "linewidth": 0.5}
CEILING = "0.55"


@styled
def draw_thresholds(table: pd.DataFrame, ceilings: bool = True) -> Figure:
    """Draw the drop of every error as a bar of what stays and what another threshold gives back.

    One row of panels per dataset and structure, one column per recipe; from top to bottom networks,
    and of each its errors. A bar ends at the drop at a probability of 0.5; its full part is the
    drop where control and error are each decided at the threshold that is best on clean validation
    slices, its hatched part what that gives back. Lines are the 95 % intervals of both ends. The
    thin grey bar is the same of the ceiling, which knows how often each pixel is foreground in such
    labels and decides as the optimum of the recipe's loss does; its full part is lost where it
    decides at one half.

    Args:
        table: what `thresholds.thresholds_table` returns.
        ceilings: whether to draw them.
    """
    errors = table[table["kind"] != "control"]
    half = errors[errors["decision"] == HALF].dropna(subset="drop_mean")
    if half.empty:
        return empty_figure("no label error with a control: no drops")
    rows, recipes = style.panels(half), list(style.recipes(half["recipe"]))
    networks = list(style.networks(half["model"]))
    bars = [(model, name) for model in networks for name in _names(half)]
    figure, axes = panel_grid(
        len(rows),
        titles=list(map(style.display, recipes)),
        height=max(0.17 * len(bars) + 0.2, 1.0) * len(rows) + 1.1,
        wide=len(recipes) > 1,
        sharey=True,
        xlabel="test Dice lost against the control",
    )
    ceilings = ceilings and bool(errors["ceiling_dice"].notna().any())
    for row_axes, (dataset, structure) in zip(axes, rows, strict=True):
        here = style.in_panel(errors, dataset, structure)
        for panel, recipe in zip(row_axes, recipes, strict=True):
            _draw_panel(panel, here[here["recipe"] == recipe], bars, ceilings)
        row_axes[0].set_ylabel(style.display_panel(dataset, structure).replace(", ", ",\n"))
    several = len(networks) > 1
    names = [
        f"{style.display(model)}, {style.display_perturbation(name)}"
        if several
        else style.display_perturbation(name)
        for model, name in bars
    ]
    axes[0, 0].set_yticks(range(len(bars)), names)
    axes[0, 0].set_ylim(len(bars) - 0.4, -0.6)
    grouped_legend(figure, _legend_groups(half, ceilings))
    return figure


def _names(table):
    """Return the errors, kinds together and each from small to large as they are listed."""
    order = list(style.kinds(table["kind"]))
    found = table.drop_duplicates("perturbation")
    return found.iloc[np.argsort([order.index(kind) for kind in found["kind"]], kind="stable")][
        "perturbation"
    ]


def _draw_panel(panel, table, bars, ceilings):
    panel.axvline(0, color=style.REFERENCE_LINE, linewidth=0.7, zorder=1)
    colors = style.kinds(table["kind"])
    for (model, name), rows in table.groupby(["model", "perturbation"], sort=False):
        at = {row["decision"]: row for row in rows.to_dict("records")}
        y, half, chosen = bars.index((model, name)), at[HALF], at[CHOSEN]
        shift = 0.12 if ceilings else 0.0
        color, label = colors[half["kind"]], f"{model} {name}"
        _stack(panel, y - shift, THICK, color, chosen["drop_mean"], half["drop_mean"], label)
        for row, offset in ((half, -0.1), (chosen, 0.1)):
            place = [y - shift + offset] * 2
            panel.plot(
                [row["drop_low"], row["drop_high"]], place, color="0.15", linewidth=0.8, zorder=4
            )
        if ceilings and np.isfinite(half["ceiling_dice"]):
            stays = 1 - at["loss"]["ceiling_dice"]
            ends = stays, 1 - half["ceiling_dice"]
            _stack(panel, y + 0.32, THIN, CEILING, *ends, f"ceiling {label}")
    panel.grid(visible=False, axis="y")
    panel.tick_params(axis="y", length=0)


def _stack(panel, y, height, color, stays, drop, label):
    """Draw a bar from 0 to what stays, and on to the drop."""
    panel.barh(y, stays, height, color=color, label=f"_{label} stays", zorder=2, **STAYS)
    part = {"left": stays, "color": color, "label": f"_{label} given back", "zorder": 2}
    panel.barh(y, drop - stays, height, **part, **GIVEN_BACK)


def _legend_groups(table, ceilings):
    kinds = [
        (style.display(kind), Patch(facecolor=color, **STAYS))
        for kind, color in style.kinds(table["kind"]).items()
    ]
    parts = [
        ("stays at the best threshold (clean validation)", Patch(facecolor="0.75", **STAYS)),
        ("given back by it", Patch(facecolor="0.75", **GIVEN_BACK)),
    ]
    marks = []
    if np.isfinite(table["drop_low"]).any():
        marks.append(
            (f"95 % intervals ({covered(table)})", Line2D([], [], color="0.15", linewidth=0.8))
        )
    if ceilings:
        marks.append(("ceiling, without a network", Patch(facecolor=CEILING, **STAYS)))
    return [kinds, parts, marks]
