"""Mean test Dice against measured label Dice, by dataset, kind of error, network and recipe."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from labelnoise.report import style
from labelnoise.report.figures.canvas import covered, grouped_legend, panel_grid, styled

FAN = 14.0  # points over which the series that share a label Dice are fanned out
IDENTITY = {"color": style.REFERENCE_LINE, "linestyle": (0, (1, 1.5)), "linewidth": 0.9}


@styled
def draw_degradation(table: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Draw how test Dice falls with label Dice.

    One row of panels per dataset and structure, one column per kind, one line per network (colour,
    marker) and recipe (line style, marker fill). Every line starts at its control. Large markers
    are means with their 95 % interval over repeats and test cases, dots single runs. Lines are
    shifted sideways by up to a few points, so that they do not hide each other; their data are not
    changed. On the dotted line test Dice equals label Dice.

    Args:
        table: what `tables.degradation_table` returns.
        runs: what `tables.runs_table` returns.
    """
    rows = style.panels(table)
    columns = [kind for kind in style.kinds(table["kind"]) if kind != "control"] or ["control"]
    titles, height = list(map(style.display, columns)), 1.9 * len(rows) + 0.8
    below = "Dice of the training labels"
    figure, axes = panel_grid(len(rows), titles, height, wide=len(columns) > 1, xlabel=below)
    for row_axes, (dataset, structure) in zip(axes, rows, strict=True):
        cells, dots = (style.in_panel(found, dataset, structure) for found in (table, runs))
        for panel, kind in zip(row_axes, columns, strict=True):
            means, single = (
                found[found["kind"].isin(["control", kind])] for found in (cells, dots)
            )
            _draw_lines(panel, means, single, table)
        row_axes[0].set_ylabel(f"{style.display_panel(dataset, structure)}\ntest Dice")
        _set_y(row_axes[0], cells, dots)
    _set_x(axes[0, 0], runs)
    grouped_legend(figure, _legend_groups(table))
    return figure


def _draw_lines(panel, cells, dots, table):
    """Draw each network and recipe of one panel; styles come from the whole table."""
    panel.axline((1, 1), slope=1, zorder=1, label="_identity", **IDENTITY)
    networks, recipes = style.networks(table["model"]), style.recipes(table["recipe"])
    series = [(model, recipe) for model in networks for recipe in recipes]
    for place, (model, recipe) in enumerate(series):
        line = cells[(cells["model"] == model) & (cells["recipe"] == recipe)]
        shift = min(FAN / len(series), 3.0) * (place - (len(series) - 1) / 2)
        moved = _moved(panel, shift)
        look = _look(networks[model], recipes[recipe])
        if len(line):
            _draw_means(panel, line, look | {"transform": moved, "label": f"{model} {recipe}"})
        single = dots[(dots["model"] == model) & (dots["recipe"] == recipe)]
        small = {"markersize": 3.4, "markeredgewidth": 0, "alpha": 0.6, "color": look["color"]}
        x, y = single["label_dice"], single["dice"]
        panel.plot(x, y, ".", transform=moved, label=f"_runs {model} {recipe}", **small)


def _moved(panel, points):
    """Return data coordinates shifted to the right by some points."""
    inches = panel.get_figure().dpi_scale_trans
    return panel.transData + ScaledTranslation(points / 72, 0, inches)


def _draw_means(panel, line, look):
    line = line.sort_values("label_dice_mean", ascending=False)
    half = (line["dice_high"] - line["dice_mean"]).to_numpy()
    x, mean = line["label_dice_mean"].to_numpy(), line["dice_mean"].to_numpy()
    panel.errorbar(x, mean, yerr=half, elinewidth=0.7, capsize=1.3, capthick=0.7, **look)


def _look(network, recipe):
    (color, marker), (line, fill) = network, recipe
    return {
        "color": color,
        "marker": marker,
        "linestyle": line,
        "fillstyle": fill,
        "markerfacecoloralt": "white",
        "markeredgewidth": 0.8,
    }


def _set_y(panel, cells, dots):
    """Show every mean, run and interval, but no impossible Dice."""
    values = np.concatenate(
        [cells["dice_low"], cells["dice_high"], cells["dice_mean"], dots["dice"]]
    )
    low, high = np.nanmin(values), np.nanmax(values)
    pad = max(0.06 * (high - low), 0.01)
    panel.set_ylim(max(low - pad, -0.02), min(high + pad, 1.02))


def _set_x(panel, runs):
    """Let label Dice fall to the right, so that the error grows from left to right."""
    low = runs["label_dice"].min()
    pad = max(0.1 * (1 - low), 0.01)
    panel.set_xlim(1 + pad, low - pad)


def _legend_groups(table):
    networks = [
        (style.display(name), Line2D([], [], color=color, marker=marker))
        for name, (color, marker) in style.networks(table["model"]).items()
    ]
    recipes = [
        (style.display(name), Line2D([], [], **_look(("0.25", "o"), look)))
        for name, look in style.recipes(table["recipe"]).items()
    ]
    marks = [("test Dice = label Dice", Line2D([], [], **IDENTITY))]
    dot = Line2D([], [], color="0.25", marker=".", markersize=3.4, linestyle="", markeredgewidth=0)
    marks.append(("single run", dot))
    if table["dice_low"].notna().any():
        bar = Line2D([], [], color="0.25", marker="|", markersize=8, linestyle="")
        marks.append((f"95 % interval ({covered(table)})", bar))
    return [networks, recipes, marks]
