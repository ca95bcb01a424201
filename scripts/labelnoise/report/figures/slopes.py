"""Dice lost per label Dice lost: one dot per network and kind of error."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from labelnoise.report import style
from labelnoise.report.figures.canvas import (
    RC,
    covered,
    empty_figure,
    fitted,
    grouped_legend,
    mark_cuts,
    name_row,
    panel_grid,
    say,
    styled,
    text_width,
)

OURS = {"markersize": 4.6, "markeredgecolor": "0.15", "markeredgewidth": 0.5, "linestyle": ""}
OURS |= {"markerfacecoloralt": "white"}
LONGEST = 1.3  # inches, of a network's name
PAPER = {"marker": "D", "markersize": 4.0, "markerfacecolor": "white", "linestyle": ""}
ROOM = 0.7  # share of a network's room that its kinds take


@styled
def draw_slopes(table: pd.DataFrame) -> Figure:
    """Draw each slope with its 95 % interval, and the paper's beside it.

    One row of panels per dataset and structure, one column per recipe; networks from top to bottom,
    kinds of error by colour and marker, and how they are drawn, if in several ways, by the
    marker's fill. Diamonds are the slopes of the paper's Table 1, where the
    data are its liver CT. At 1, test Dice falls as much as label Dice; at 0, it does not fall.
    Intervals of two or three repeats may be far wider than the slopes; where they leave the panel
    they are cut, and end in an arrowhead.

    Args:
        table: what `paper.slopes_beside_paper` returns.
    """
    if table.empty:
        return empty_figure("no label error with a control: no slopes")
    rows, recipes = style.panels(table), list(style.recipes(table["recipe"]))
    networks, looks = list(style.networks(table["model"])), _looks(table)
    # At least as high as the vertical name of the dataset.
    height = max((0.13 * len(looks) + 0.1) * len(networks) + 0.25, 1.0)
    size = RC["ytick.labelsize"]
    names = [fitted(style.display(name), LONGEST, size) for name in networks]
    figure, axes = panel_grid(
        len(rows),
        titles=list(map(style.display, recipes)),
        height=height,
        below=1.0,
        wide=len(recipes) > 1,
        sharey=True,
        xlabel="test Dice lost for each label Dice lost",
        left=text_width(names, size) + 0.5,
    )
    _set_axes(axes[0, 0], table, names)
    for row_axes, (dataset, structure) in zip(axes, rows, strict=True):
        here = style.in_panel(table, dataset, structure)
        for panel, recipe in zip(row_axes, recipes, strict=True):
            _draw_panel(panel, here[here["recipe"] == recipe], networks, looks)
        name_row(row_axes, style.display_panel(dataset, structure).replace(", ", ",\n"), height)
    grouped_legend(figure, _legend_groups(table, looks))
    return figure


def _looks(table):
    """Return the look of the markers of each kind of error, and of each way to draw it."""
    errors, fills = style.errors(table), style.draws_fills(table)
    colors, markers = (of(kind for kind, _ in errors) for of in (style.kinds, style.kind_markers))
    return {
        (kind, draws): {
            "color": colors[kind],
            "marker": markers[kind],
            "fillstyle": fills.get(draws, "full"),
            **OURS,
        }
        for kind, draws in errors
    }


def _draw_panel(panel, table, networks, looks):
    for level in (0, 1):
        panel.axvline(level, color=style.REFERENCE_LINE, linewidth=0.7, zorder=1)
    for row in table.itertuples():
        error = (row.kind, row.draws)
        step = list(looks).index(error) - (len(looks) - 1) / 2
        y = networks.index(row.model) + step * ROOM / len(looks)
        panel.plot([row.slope_low, row.slope_high], [y, y], color="0.15", linewidth=0.8, zorder=2)
        mark_cuts(panel, "x", [y], [row.slope_low], [row.slope_high], color="0.15")
        name = f"_{row.model} {row.kind}" + (f" {row.draws}" if row.draws != "1" else "")
        panel.plot(row.slope, y, label=name, zorder=4, **looks[error])
        if np.isfinite(row.paper_liver_slope):
            paper = {"color": "0.15", "markeredgewidth": 0.7, "label": f"_paper {name[1:]}"}
            panel.plot(row.paper_liver_slope, y, zorder=3, **PAPER, **paper)
    for border in range(1, len(networks)):
        panel.axhline(border - 0.5, color="0.85", linewidth=0.6)
    if table["slope"].isna().all():
        say(panel, "no scores")
    panel.grid(visible=False, axis="y")
    panel.tick_params(axis="y", length=0)


def _set_axes(panel, table, names):
    """Show every slope, ours and the paper's, and 0 and 1, with room for intervals around them."""
    values = [0, 1, *table["slope"].dropna(), *table["paper_liver_slope"].dropna()]
    low, high = min(values), max(values)
    pad = 0.35 * (high - low)
    bounds = [*table["slope_low"].dropna(), *table["slope_high"].dropna(), low, high]
    low, high = max(low - pad, min(bounds) - 0.05), min(high + pad, max(bounds) + 0.05)
    panel.set_xlim(low - 0.05, high + 0.05)
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.5, -0.5)


def _legend_groups(table, looks):
    names = style.errors(table)
    kinds = [(names[error], Line2D([], [], **look)) for error, look in looks.items()]
    marks = []
    if np.isfinite(table["slope_low"]).any():
        marks.append(
            (f"95 % interval ({covered(table)})", Line2D([], [], color="0.15", linewidth=0.8))
        )
    if table["paper_liver_slope"].notna().any():
        paper = Line2D([], [], color="0.15", markeredgewidth=0.7, **PAPER)
        marks.append(("the paper's Table 1, liver CT", paper))
    return [kinds, marks]
