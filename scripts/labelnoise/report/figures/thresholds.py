"""Dice lost to each error, taken apart: what another threshold gives back, and what stays."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from labelnoise.evaluation.thresholds import HALF
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
    styled,
    text_width,
)

# The threshold that the drop is taken apart by, and a row's share of its room.
CHOSEN = "clean"
THICK, THIN = 0.5, 0.18
# How far up a bar is moved for its ceiling, and its intervals from its middle.
SHIFT, OFFSET = 0.12, 0.1
LONGEST = 2.1  # inches, of the name of a bar in a figure as wide as a page
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
    decides at one half. An interval that is far wider than the bars is cut, and ends in an
    arrowhead.

    Args:
        table: what `thresholds.thresholds_table` returns.
        ceilings: whether to draw them.
    """
    errors = table[table["kind"] != "control"]
    half = errors[errors["decision"] == HALF].dropna(subset="drop_mean")
    if half.empty:
        return empty_figure("no label error whose scores, and its control's, are known: no drops")
    errors = errors[errors["perturbation"].isin(half["perturbation"])]
    rows, recipes = style.panels(half), list(style.recipes(half["recipe"]))
    networks, shown = list(style.networks(half["model"])), style.perturbations_of(half)
    bars = [(model, name) for model in networks for name in _ordered(half)]
    names = [
        f"{style.display(model)}, {shown[name]}" if len(networks) > 1 else shown[name]
        for model, name in bars
    ]
    size, wide = RC["ytick.labelsize"], len(recipes) > 1
    names = [fitted(name, LONGEST if wide else LONGEST / 1.5, size) for name in names]
    height = max(0.17 * len(bars) + 0.2, 1.0)
    figure, axes = panel_grid(
        len(rows),
        titles=list(map(style.display, recipes)),
        height=height,
        below=1.1,
        wide=wide,
        sharey=True,
        xlabel="test Dice lost against the control",
        left=text_width(names, size) + 0.5,
    )
    ceilings = ceilings and bool(errors["ceiling_dice"].notna().any())
    colors, shown_in = style.kinds(half["kind"]), []
    for row_axes, (dataset, structure) in zip(axes, rows, strict=True):
        here = style.in_panel(errors, dataset, structure)
        shown_in += [
            (panel, here[(here["recipe"] == recipe) & here["model"].isin(networks)])
            for panel, recipe in zip(row_axes, recipes, strict=True)
        ]
        name_row(row_axes, style.display_panel(dataset, structure).replace(", ", ",\n"), height)
    for panel, cells in shown_in:
        _draw_panel(panel, cells, bars, colors, ceilings)
    _set_x(axes[0, 0], errors, ceilings)
    for panel, cells in shown_in:
        _mark_cuts(panel, cells, bars, ceilings)
    axes[0, 0].set_yticks(range(len(bars)), names)
    axes[0, 0].set_ylim(len(bars) - 0.4, -0.6)
    grouped_legend(figure, _legend_groups(half, ceilings))
    return figure


def _ordered(table):
    """Return the errors, those drawn alike of a kind together, from small to large as listed."""
    order = list(style.errors(table))
    found = table.drop_duplicates("perturbation")
    places = [order.index(error) for error in zip(found["kind"], found["draws"], strict=True)]
    return found.iloc[np.argsort(places, kind="stable")]["perturbation"]


def _draw_panel(panel, table, bars, colors, ceilings):
    panel.axvline(0, color=style.REFERENCE_LINE, linewidth=0.7, zorder=1)
    for (model, name), rows in table.groupby(["model", "perturbation"], sort=False):
        at = {row["decision"]: row for row in rows.to_dict("records")}
        y, half, chosen = bars.index((model, name)), at[HALF], at[CHOSEN]
        shift = SHIFT if ceilings else 0.0
        color, label = colors[half["kind"]], f"{model} {name}"
        _stack(panel, y - shift, THICK, color, chosen["drop_mean"], half["drop_mean"], label)
        for row, offset in ((half, -OFFSET), (chosen, OFFSET)):
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


def _set_x(panel, table, ceilings):
    """Show every bar, and intervals up to half as far again."""
    at = table["decision"].isin([HALF, CHOSEN])
    ends = [0.0, *table.loc[at, "drop_mean"].dropna()]
    if ceilings:
        ends += (1 - table["ceiling_dice"].dropna()).tolist()
    low, high = min(ends), max(ends)
    if high - low < 1e-6:
        panel.set_xlim(-0.01, 0.1)
        return
    room = 0.5 * (high - low)
    first, last = panel.get_xlim()
    if first < low - room or last > high + room:
        panel.set_xlim(max(first, low - room), min(last, high + room))


def _mark_cuts(panel, table, bars, ceilings):
    for decision, offset in ((HALF, -OFFSET), (CHOSEN, OFFSET)):
        rows = table[table["decision"] == decision]
        places = [bars.index(bar) for bar in zip(rows["model"], rows["perturbation"], strict=True)]
        y = np.array(places, float) + offset - (SHIFT if ceilings else 0.0)
        mark_cuts(panel, "x", y, rows["drop_low"], rows["drop_high"], color="0.15")


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
