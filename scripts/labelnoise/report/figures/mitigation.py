"""What each mitigation changes of the baseline's test Dice, on clean labels and under errors."""

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

DOT = {"marker": "o", "markersize": 4.2, "markeredgecolor": "0.15", "markeredgewidth": 0.5}
LOST = {"color": "0.15", "linestyle": (0, (3, 1.5)), "linewidth": 0.9}
LONGEST = 1.9  # inches, of the name of a mitigation
CLEAN = "clean labels"


@styled
def draw_mitigation(table: pd.DataFrame, baseline: str) -> Figure:
    """Draw the change that each mitigation makes, with its 95 % interval.

    One row of panels per dataset and structure, one column for clean labels and one per error; from
    top to bottom networks, and of each its mitigations. At 0 Dice is the baseline's. The dashed
    line is what the error costs the baseline: a dot there gives back all of it. An interval that is
    far wider than the dots are apart is cut, and ends in an arrowhead.

    Args:
        table: what `mitigation.mitigation_table` returns.
        baseline: the recipe that it holds the others against.
    """
    shown = table.dropna(subset="gained_mean")
    if shown.empty:
        return empty_figure("no mitigation whose scores, and the baseline's, are known")
    rows, names = style.panels(shown), style.perturbations_of(shown)
    errors = list(dict.fromkeys(shown["perturbation"]))
    networks = list(style.networks(shown["model"]))
    ways = list(dict.fromkeys(zip(shown["recipe"], shown["at"], strict=True)))
    lines = [(model, *way) for model in networks for way in ways]
    size = RC["ytick.labelsize"]
    texts = [
        fitted(
            (f"{style.display(model)}, " if len(networks) > 1 else "") + style.mitigation(*way),
            LONGEST,
            size,
        )
        for model, *way in lines
    ]
    height = max(0.16 * len(lines) + 0.2, 1.0)
    figure, axes = panel_grid(
        len(rows),
        titles=[CLEAN, *(names[error] for error in errors)],
        height=height,
        below=1.0,
        wide=True,
        sharey=True,
        xlabel="change of test Dice",
        left=text_width(texts, size) + 0.5,
    )
    colors = style.kinds([*shown["kind"], "control"])
    drawn = []
    for row_axes, (dataset, structure) in zip(axes, rows, strict=True):
        here = style.in_panel(shown, dataset, structure)
        for panel, error in zip(row_axes, [None, *errors], strict=True):
            found = _changes(here, error)
            _draw_panel(panel, found, lines, colors)
            drawn.append((panel, found))
        name_row(row_axes, style.display_panel(dataset, structure).replace(", ", ",\n"), height)
    _set_x(axes[0, 0], pd.concat([found for _, found in drawn]))
    for panel, found in drawn:
        mark_cuts(panel, "x", _places(found, lines), found["low"], found["high"], color="0.15")
    axes[0, 0].set_yticks(range(len(lines)), texts)
    axes[0, 0].set_ylim(len(lines) - 0.4, -0.6)
    grouped_legend(figure, _legend_groups(shown, baseline))
    return figure


def _changes(table, error):
    """Return the rows of one panel: a change with its interval, and what the error costs."""
    if error is None:
        found = table.dropna(subset="cost_mean").drop_duplicates(["model", "recipe", "at"])
        signs = {"change": "cost_mean", "low": "cost_high", "high": "cost_low"}
        changes = {name: -found[column] for name, column in signs.items()}
        return found.assign(**changes, kind="control", lost=np.nan)
    found = table[table["perturbation"] == error]
    return found.assign(
        change=found["gained_mean"],
        low=found["gained_low"],
        high=found["gained_high"],
        lost=found["lost_mean"],
    )


def _draw_panel(panel, found, lines, colors):
    panel.axvline(0, color=style.REFERENCE_LINE, linewidth=0.7, zorder=1)
    for y, row in zip(_places(found, lines), found.to_dict("records"), strict=True):
        name = f"_{row['model']} {row['recipe']} {row['at']}"
        panel.plot([row["low"], row["high"]], [y, y], color="0.15", linewidth=0.8, zorder=2)
        dot = {"color": colors[row["kind"]], "linestyle": "", "zorder": 3, "label": name}
        panel.plot(row["change"], y, **DOT, **dot)
    for model, rows in found.groupby("model", sort=False):
        lost, places = rows["lost"].iloc[0], _places(rows, lines)
        if np.isfinite(lost):
            ends = [min(places) - 0.5, max(places) + 0.5]
            panel.plot([lost, lost], ends, label=f"_{model} lost", zorder=1, **LOST)
    if found.empty:
        say(panel, "no scores")
    panel.grid(visible=False, axis="y")
    panel.tick_params(axis="y", length=0)


def _places(found, lines):
    return [
        lines.index(way) for way in zip(found["model"], found["recipe"], found["at"], strict=True)
    ]


def _set_x(panel, found):
    """Show every change and what was lost, and intervals up to half as far again."""
    ends = [0.0, *found["change"].dropna(), *found["lost"].dropna()]
    low, high = min(ends), max(ends)
    room = 0.5 * max(high - low, 0.02)
    first, last = panel.get_xlim()
    panel.set_xlim(max(first, low - room), min(last, high + room))


def _legend_groups(table, baseline):
    dot = Line2D([], [], color="0.75", linestyle="", **DOT)
    marks = [(f"against {style.display(baseline)} at 0.5", dot)]
    if np.isfinite(table["gained_low"]).any():
        interval = Line2D([], [], color="0.15", linewidth=0.8)
        marks.append((f"95 % interval ({covered(table)})", interval))
    lost = []
    if np.isfinite(table["lost_mean"]).any():
        lost = [("all that the error costs it", Line2D([], [], **LOST))]
    return [marks, lost]
