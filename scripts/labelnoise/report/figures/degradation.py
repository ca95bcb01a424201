"""Mean test Dice against measured label Dice, by dataset, kind of error, network and recipe."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from labelnoise.report import style
from labelnoise.report.figures.canvas import (
    covered,
    dice_limits,
    grouped_legend,
    mark_cuts,
    name_row,
    panel_grid,
    say,
    styled,
)

HEIGHT = 1.9  # inches, of a row
FAN = 14.0  # points over which the series that share a label Dice are fanned out
IDENTITY = {"color": style.REFERENCE_LINE, "linestyle": (0, (1, 1.5)), "linewidth": 0.9}


@styled
def draw_degradation(table: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Draw how test Dice falls with label Dice.

    One row of panels per dataset and structure, one column per kind of error, fixed and fresh
    draws of a kind apart, one line per network (colour, marker) and recipe (line style, marker
    fill). Every line starts at its control. Large markers are means with their 95 % interval over
    repeats and test cases, an arrowhead where it leaves the panel, dots single runs. Lines are
    shifted sideways by up to a few points, so that they do not hide each other; their data are not
    changed. On the dotted line test Dice equals label Dice.

    Args:
        table: what `tables.degradation_table` returns.
        runs: what `tables.runs_table` returns.
    """
    rows = style.panels(table)
    columns = style.errors(table) or {("control", "1"): "control"}
    titles, wide = list(columns.values()), len(columns) > 1
    label = "Dice of the training labels"
    figure, axes = panel_grid(len(rows), titles, HEIGHT, 0.8, wide, xlabel=label)
    for row_axes, (dataset, structure) in zip(axes, rows, strict=True):
        cells, dots = (style.in_panel(found, dataset, structure) for found in (table, runs))
        values = [cells[name] for name in ("dice_low", "dice_high", "dice_mean")]
        row_axes[0].set_ylim(dice_limits(np.concatenate([*values, dots["dice"]])))
        for panel, error in zip(row_axes, columns, strict=True):
            means, single = (_of_error(found, *error) for found in (cells, dots))
            _draw_lines(panel, means, single, table)
            if single["dice"].isna().all():
                say(panel, "no scores")
        name = f"{style.display_panel(dataset, structure)}\ntest Dice"
        name_row(row_axes, name, HEIGHT)
    _set_x(axes[0, 0], runs)
    grouped_legend(figure, _legend_groups(table))
    return figure


def _of_error(table, kind, draws):
    """Return the rows of controls and of the errors of a kind that are drawn in one way."""
    of_kind = (table["kind"] == kind) & (table["draws"] == draws)
    return table[(table["kind"] == "control") | of_kind]


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
    same = {"color": look["color"], "transform": look["transform"]}
    mark_cuts(panel, "y", x, line["dice_low"], line["dice_high"], **same)


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


def _set_x(panel, runs):
    """Let label Dice fall to the right, so that the error grows from left to right."""
    low = runs["label_dice"].min()
    pad = max(0.1 * (1 - low), 0.01)
    panel.set_xlim(1 + pad, low - pad)


def _legend_groups(table):
    recipes = style.recipes(table["recipe"])
    # Networks are shown by their first recipe's line, which is drawn, not by one of their own.
    pairs = set(zip(table["model"], table["recipe"], strict=True))
    first = {name: next(each for each in recipes if (name, each) in pairs) for name, _ in pairs}
    networks = [
        (style.display(name), Line2D([], [], **_look(look, recipes[first[name]])))
        for name, look in style.networks(table["model"]).items()
    ]
    lines = [
        (style.display(name), Line2D([], [], **_look(("0.25", "o"), look)))
        for name, look in recipes.items()
    ]
    marks = [("test Dice = label Dice", Line2D([], [], **IDENTITY))]
    dot = Line2D([], [], color="0.25", marker=".", markersize=3.4, linestyle="", markeredgewidth=0)
    marks.append(("single run", dot))
    if table["dice_low"].notna().any():
        bar = Line2D([], [], color="0.25", marker="|", markersize=8, linestyle="")
        marks.append((f"95 % interval ({covered(table)})", bar))
    return [networks, lines, marks]
