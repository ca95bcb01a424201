"""Test Dice of every single run, by network and perturbation."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from labelnoise.report import style
from labelnoise.report.figures.canvas import grouped_legend, panel_grid, styled
from labelnoise.report.paper import nominal_dice

EDGE = {"markeredgecolor": "0.15", "markeredgewidth": 0.35, "markersize": 3.6}
WIDTH = 0.84  # share of a network's room that its perturbations take


@styled
def draw_runs(runs: pd.DataFrame) -> Figure:
    """Draw one marker per run: network along x, perturbations side by side, test Dice along y.

    One row of panels per dataset and structure, one column per recipe; the colour is the kind of
    error, the marker its size. The line in each network is the mean of its control.

    Args:
        runs: what `tables.runs_table` returns.
    """
    nominal = map(nominal_dice, runs["perturbation"], runs["target_dice"])
    runs = runs.assign(size=list(map(style.size_name, runs["kind"], nominal)))
    rows, columns = style.panels(runs), list(style.recipes(runs["recipe"]))
    places, names = _places(runs), list(style.networks(runs["model"]))
    titles, height = list(map(style.display, columns)), 1.9 * len(rows) + 0.8
    figure, axes = panel_grid(len(rows), titles, height, wide=len(columns) * len(names) > 2)
    for row_axes, (dataset, structure) in zip(axes, rows, strict=True):
        here = style.in_panel(runs, dataset, structure)
        for panel, recipe in zip(row_axes, columns, strict=True):
            _draw_panel(panel, here[here["recipe"] == recipe], places, names, runs)
        row_axes[0].set_ylabel(f"{style.display_panel(dataset, structure)}\ntest Dice")
    grouped_legend(figure, _legend_groups(runs))
    return figure


def _places(runs):
    """Return the place of each perturbation in its network, in (-0.5, 0.5), by kind, then size."""
    kinds, sizes = list(style.kinds(runs["kind"])), list(style.sizes(runs["size"]))
    found = runs[["perturbation", "kind", "size"]].drop_duplicates("perturbation")
    ordered = sorted(
        found.itertuples(),
        key=lambda row: (kinds.index(row.kind), sizes.index(row.size), row.perturbation),
    )
    steps = (np.arange(len(ordered)) - (len(ordered) - 1) / 2) * WIDTH / len(ordered)
    return {row.perturbation: step for row, step in zip(ordered, steps, strict=True)}


def _draw_panel(panel, runs, places, names, everything):
    room = WIDTH / len(places)
    colors, markers = style.kinds(everything["kind"]), style.sizes(everything["size"])
    for centre, name in enumerate(names):
        group = runs[runs["model"] == name]
        control = group.loc[group["kind"] == "control", "dice"]
        if len(control):
            look = {"color": style.REFERENCE_LINE, "linewidth": 0.7, "label": "_control"}
            panel.plot([centre - 0.45, centre + 0.45], [control.mean()] * 2, **look)
        for perturbation, cell in group.groupby("perturbation", sort=False):
            kind, size = cell[["kind", "size"]].iloc[0]
            # Repeats are side by side, within half the room of their perturbation.
            x = centre + places[perturbation] + np.linspace(-1, 1, len(cell) + 2)[1:-1] * room / 4
            look = {"color": colors[kind], "marker": markers[size], "linestyle": "", **EDGE}
            panel.plot(x, cell["dice"], label=f"_{name} {perturbation}", **look)
    panel.set_xticks(range(len(names)), [style.display(name) for name in names])
    panel.tick_params(axis="x", length=0)
    panel.grid(visible=False, axis="x")
    panel.set_xlim(-0.55, len(names) - 0.45)
    for border in range(1, len(names)):
        panel.axvline(border - 0.5, color="0.85", linewidth=0.6)


def _legend_groups(runs):
    kinds = [
        (style.display(name), Line2D([], [], linestyle="", marker="o", color=color, **EDGE))
        for name, color in style.kinds(runs["kind"]).items()
    ]
    sizes = [
        (style.display(name), Line2D([], [], linestyle="", marker=marker, color="0.6", **EDGE))
        for name, marker in style.sizes(runs["size"]).items()
        if name != "control"
    ]
    line = Line2D([], [], color=style.REFERENCE_LINE, linewidth=0.7)
    return [kinds, sizes, [("mean of the control", line)]]
