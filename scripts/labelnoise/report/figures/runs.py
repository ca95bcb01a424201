"""Test Dice of every single run, by network and perturbation."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from labelnoise.report import style
from labelnoise.report.figures.canvas import (
    RC,
    dice_limits,
    fitted,
    grouped_legend,
    name_row,
    panel_grid,
    panel_width,
    say,
    styled,
    text_width,
)
from labelnoise.report.paper import nominal_dice
from labelnoise.study import draws_order

HEIGHT = 1.9  # inches, of a row

EDGE = {"markeredgecolor": "0.15", "markeredgewidth": 0.35, "markersize": 3.6}
EDGE |= {"markerfacecoloralt": "white"}
LONGEST = 1.1  # inches, of a network's name
WIDTH = 0.84  # share of a network's room that its perturbations take


@styled
def draw_runs(runs: pd.DataFrame) -> Figure:
    """Draw one marker per run: network along x, perturbations side by side, test Dice along y.

    One row of panels per dataset and structure, one column per recipe; the colour is the kind of
    error, the marker its size, and where errors of a kind are drawn in several ways, the marker's
    fill is how. The line in each network is the mean of its control.

    Args:
        runs: what `tables.runs_table` returns.
    """
    nominal = map(nominal_dice, runs["perturbation"], runs["target_dice"])
    runs = runs.assign(size=list(map(style.size_name, runs["kind"], nominal)))
    rows, columns = style.panels(runs), list(style.recipes(runs["recipe"]))
    places, names = _places(runs), list(style.networks(runs["model"]))
    looks = _looks(runs)
    titles, wide = list(map(style.display, columns)), len(columns) * len(names) > 2
    figure, axes = panel_grid(len(rows), titles, HEIGHT, 0.8, wide)
    for row_axes, (dataset, structure) in zip(axes, rows, strict=True):
        here = style.in_panel(runs, dataset, structure)
        for panel, recipe in zip(row_axes, columns, strict=True):
            _draw_panel(panel, here[here["recipe"] == recipe], places, names, looks)
        if here["dice"].nunique() < 2:
            row_axes[0].set_ylim(dice_limits(here["dice"]))
        name = f"{style.display_panel(dataset, structure)}\ntest Dice"
        name_row(row_axes, name, HEIGHT)
    _name_networks(axes, names, panel_width(len(columns), wide) / len(names))
    grouped_legend(figure, _legend_groups(runs))
    return figure


def _places(runs):
    """Return the place of each perturbation in its network, in (-0.5, 0.5).

    By kind, then by how it is drawn, then by size.
    """
    kinds, sizes = list(style.kinds(runs["kind"])), list(style.sizes(runs["size"]))
    found = runs[["perturbation", "kind", "draws", "size"]].drop_duplicates("perturbation")
    ordered = sorted(
        found.itertuples(),
        key=lambda row: (
            kinds.index(row.kind),
            draws_order(row.draws),
            sizes.index(row.size),
            row.perturbation,
        ),
    )
    steps = (np.arange(len(ordered)) - (len(ordered) - 1) / 2) * WIDTH / len(ordered)
    return {row.perturbation: step for row, step in zip(ordered, steps, strict=True)}


def _looks(runs):
    """Return the look of each perturbation's markers."""
    colors, markers = style.kinds(runs["kind"]), style.sizes(runs["size"])
    fills = style.draws_fills(runs)
    return {
        row.perturbation: {
            "color": colors[row.kind],
            "marker": markers[row.size],
            "fillstyle": "full" if row.kind == "control" else fills.get(row.draws, "full"),
            "linestyle": "",
            **EDGE,
        }
        for row in runs.drop_duplicates("perturbation").itertuples()
    }


def _draw_panel(panel, runs, places, names, looks):
    room = WIDTH / len(places)
    for centre, name in enumerate(names):
        group = runs[runs["model"] == name]
        control = group.loc[group["kind"] == "control", "dice"]
        if len(control):
            look = {"color": style.REFERENCE_LINE, "linewidth": 0.7, "label": "_control"}
            panel.plot([centre - 0.45, centre + 0.45], [control.mean()] * 2, **look)
        for perturbation, cell in group.groupby("perturbation", sort=False):
            # Repeats are side by side, within half the room of their perturbation.
            x = centre + places[perturbation] + np.linspace(-1, 1, len(cell) + 2)[1:-1] * room / 4
            panel.plot(x, cell["dice"], label=f"_{name} {perturbation}", **looks[perturbation])
    if runs["dice"].isna().all():
        say(panel, "no scores")
    panel.tick_params(axis="x", length=0)
    panel.grid(visible=False, axis="x")
    panel.set_xlim(-0.55, len(names) - 0.45)
    for border in range(1, len(names)):
        panel.axvline(border - 0.5, color="0.85", linewidth=0.6)


def _name_networks(axes, names, room):
    """Name the networks below the panels, upright where they are wider than their room, inches."""
    size = RC["xtick.labelsize"]
    shown = [fitted(style.display(name), LONGEST, size) for name in names]
    upright = text_width(shown, size) > 0.9 * room
    for panel in axes.flat:
        panel.set_xticks(range(len(names)), shown, rotation=90 if upright else 0)


def _legend_groups(runs):
    kinds = [
        (style.display(name), Line2D([], [], linestyle="", marker="o", color=color, **EDGE))
        for name, color in style.kinds(runs["kind"]).items()
    ]
    sizes = [
        (_size(name), Line2D([], [], linestyle="", marker=marker, color="0.6", **EDGE))
        for name, marker in style.sizes(runs["size"]).items()
        if name != "control"
    ]
    look = {"linestyle": "", "marker": "o", "color": "0.6", **EDGE}
    draws = [
        (f"{style.display_draws(name)} draws", Line2D([], [], fillstyle=fill, **look))
        for name, fill in style.draws_fills(runs).items()
    ]
    line = Line2D([], [], color=style.REFERENCE_LINE, linewidth=0.7)
    return [kinds, sizes, draws, [("mean of the control", line)]]


def _size(name):
    return name if name == style.NO_SIZE else f"label Dice {name}"
