"""Dice lost per label Dice lost: one dot per network and kind of error."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from labelnoise.report import style
from labelnoise.report.figures.canvas import (
    covered,
    empty_figure,
    grouped_legend,
    panel_grid,
    styled,
)

OURS = {"markersize": 4.6, "markeredgecolor": "0.15", "markeredgewidth": 0.5, "linestyle": ""}
PAPER = {"marker": "D", "markersize": 4.0, "markerfacecolor": "white", "linestyle": ""}
ROOM = 0.7  # share of a network's room that its kinds take


@styled
def draw_slopes(table: pd.DataFrame) -> Figure:
    """Draw each slope with its 95 % interval, and the paper's beside it.

    One row of panels per dataset and structure, one column per recipe; networks from top to bottom,
    kinds of error by colour and marker. Diamonds are the slopes of the paper's Table 1, where the
    data are its liver CT. At 1, test Dice falls as much as label Dice; at 0, it does not fall.
    Intervals of two or three repeats may be far wider than the slopes; where they leave the panel
    they are cut.

    Args:
        table: what `paper.slopes_beside_paper` returns.
    """
    if table.empty:
        return empty_figure("no label error with a control: no slopes")
    rows, recipes = style.panels(table), list(style.recipes(table["recipe"]))
    networks, kinds = list(style.networks(table["model"])), style.kinds(table["kind"])
    # At least as high as the vertical name of the dataset.
    height = max((0.13 * len(kinds) + 0.1) * len(networks) + 0.25, 1.0)
    figure, axes = panel_grid(
        len(rows),
        titles=list(map(style.display, recipes)),
        height=height * len(rows) + 1.0,
        wide=len(recipes) > 1,
        sharey=True,
        xlabel="test Dice lost for each label Dice lost",
    )
    for row_axes, (dataset, structure) in zip(axes, rows, strict=True):
        here = style.in_panel(table, dataset, structure)
        for panel, recipe in zip(row_axes, recipes, strict=True):
            _draw_panel(panel, here[here["recipe"] == recipe], networks, kinds)
        row_axes[0].set_ylabel(style.display_panel(dataset, structure).replace(", ", ",\n"))
    _set_axes(axes[0, 0], table, networks)
    grouped_legend(figure, _legend_groups(table))
    return figure


def _draw_panel(panel, table, networks, kinds):
    for level in (0, 1):
        panel.axvline(level, color=style.REFERENCE_LINE, linewidth=0.7, zorder=1)
    for row in table.itertuples():
        step = list(kinds).index(row.kind) - (len(kinds) - 1) / 2
        y = networks.index(row.model) + step * ROOM / len(kinds)
        color, marker = kinds[row.kind], style.KIND_MARKERS.get(row.kind, "o")
        panel.plot([row.slope_low, row.slope_high], [y, y], color="0.15", linewidth=0.8, zorder=2)
        name = f"_{row.model} {row.kind}"
        panel.plot(row.slope, y, marker, color=color, label=name, zorder=4, **OURS)
        if np.isfinite(row.paper_liver_slope):
            paper = {"color": "0.15", "markeredgewidth": 0.7, "label": f"_paper {name[1:]}"}
            panel.plot(row.paper_liver_slope, y, zorder=3, **PAPER, **paper)
    for border in range(1, len(networks)):
        panel.axhline(border - 0.5, color="0.85", linewidth=0.6)
    panel.grid(visible=False, axis="y")
    panel.tick_params(axis="y", length=0)


def _set_axes(panel, table, networks):
    """Show every slope, ours and the paper's, and 0 and 1, with room for intervals around them."""
    values = [0, 1, *table["slope"].dropna(), *table["paper_liver_slope"].dropna()]
    low, high = min(values), max(values)
    pad = 0.35 * (high - low)
    bounds = [*table["slope_low"].dropna(), *table["slope_high"].dropna(), low, high]
    low, high = max(low - pad, min(bounds) - 0.05), min(high + pad, max(bounds) + 0.05)
    panel.set_xlim(low - 0.05, high + 0.05)
    panel.set_yticks(range(len(networks)), [style.display(name) for name in networks])
    panel.set_ylim(len(networks) - 0.5, -0.5)


def _legend_groups(table):
    kinds = [
        (
            style.display(kind),
            Line2D([], [], marker=style.KIND_MARKERS.get(kind, "o"), color=color, **OURS),
        )
        for kind, color in style.kinds(table["kind"]).items()
    ]
    marks = []
    if np.isfinite(table["slope_low"]).any():
        marks.append(
            (f"95 % interval ({covered(table)})", Line2D([], [], color="0.15", linewidth=0.8))
        )
    if table["paper_liver_slope"].notna().any():
        paper = Line2D([], [], color="0.15", markeredgewidth=0.7, **PAPER)
        marks.append(("the paper's Table 1, liver CT", paper))
    return [kinds, marks]
