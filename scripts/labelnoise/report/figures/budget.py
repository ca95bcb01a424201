"""Test Dice over cases and label errors, lines of equal Dice, and what a wanted Dice costs."""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from labelnoise.evaluation.budget import SURFACE, cases_for, dice_with
from labelnoise.report import style
from labelnoise.report.figures.canvas import (
    PAGE_WIDTH,
    covered,
    dice_limits,
    empty_figure,
    fitted,
    grouped_legend,
    name_row,
    say,
    styled,
)

HEIGHT = 2.1  # inches, of a row
BEYOND = (0, (3, 1.5))  # what is extrapolated
REACH = 4  # times the most cases measured, where axes of cases end
LEVELS = 7  # lines of equal Dice at most, besides the wanted one
STEPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # between them
MARKERS = ("^", "s", "D", "v", "P", "X")


@styled
def draw_budget(surface: pd.DataFrame, plans: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Draw a row of panels for each surface.

    First test Dice against the number of training cases: means with 95 % intervals over repeats and
    test cases, and the fitted curve of each label error, dashed beyond the cases measured. Errors
    that are sizes of one share a colour. Then, for errors that have sizes, lines along which label
    Dice and number of cases give one test Dice, ends and scales interpolated between the label
    Dice measured; the thick line is the wanted Dice, dots are what was measured. Last what the
    wanted Dice costs with each kind of labels, cheapest first; open markers are extrapolated, a
    cross says that no number of cases is known to do.

    Args:
        surface, plans, curves: what `budget.study_budget` returns.
    """
    rows = list(plans.groupby(SURFACE, sort=False))
    if not rows:
        return empty_figure("no recipes that differ in the number of training cases")
    looks, names = _looks(plans), style.perturbations_of(plans)
    families = _families(plans)
    figure = Figure(figsize=(PAGE_WIDTH, HEIGHT * len(rows) + 0.9), layout="constrained")
    axes = figure.subplots(len(rows), 2 + len(families), squeeze=False)
    titles = ["test Dice", *(f"{family}: equal test Dice" for family in families)]
    titles += [f"price of {plans['wanted'].iloc[0]:g}"]
    room = (PAGE_WIDTH - 1.2) / len(titles) - 0.1
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(fitted(title, room, 8, lines=2))
    for row_axes, (key, plan) in zip(axes, rows, strict=True):
        cells, lines = (_of_surface(table, key) for table in (surface, curves))
        _draw_curves(row_axes[0], cells, lines, plan, looks)
        for panel, family in zip(row_axes[1:-1], families, strict=True):
            _draw_equal(panel, cells, plan, family)
        _draw_prices(row_axes[-1], plan, looks, names)
        dataset, structure, model, recipes = key
        where = f"{style.display_panel(dataset, structure)}\n{style.display(model)}"
        where += f", {recipes}" if plans["recipes"].nunique() > 1 else ""
        name_row(row_axes[:1], f"{where}\ntest Dice", HEIGHT)
        if families:
            row_axes[1].set_ylabel("label Dice")
    for panel in axes[-1, :-1]:
        panel.set_xlabel("training cases")
    axes[-1, -1].set_xlabel("price")
    grouped_legend(figure, _legend_groups(surface, looks, names))
    return figure


def _of_surface(table, key):
    return table[(table[SURFACE] == list(key)).all(axis=1)]


def _looks(plans):
    """Return colour and marker of each error; sizes of one kind share the colour."""
    ordered = plans.drop_duplicates("perturbation").sort_values(
        "label_dice", ascending=False, kind="stable"
    )
    colors = style.kinds(kind for kind in plans["kind"] if kind != "control")
    looks = {}
    for kind, sizes in ordered.groupby("kind", sort=False):
        markers = cycle(("o",) if kind == "control" else MARKERS)
        for name, marker in zip(sizes["perturbation"], markers, strict=False):
            looks[name] = {"color": colors.get(kind, "black"), "marker": marker}
    return looks


def _families(plans):
    """Return the kinds of error of which there are several sizes."""
    errors = plans[plans["kind"] != "control"]
    counts = errors.groupby("kind", sort=False)["perturbation"].nunique()
    return [str(kind) for kind, number in counts.items() if number > 1]


def _cases_axis(panel, least, most):
    panel.set_xscale("log")
    panel.set_xlim(least / 1.25, REACH * most)
    ticks = least * 2.0 ** np.arange(0, np.log2(REACH * most / least) + 0.01)
    panel.set_xticks(ticks[:: max(1, len(ticks) // 4)])
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_locator(NullLocator())


def _draw_curves(panel, cells, lines, plan, looks):
    for name, line in lines.groupby("perturbation", sort=False):
        look = {"color": looks[name]["color"], "linewidth": 0.9}
        within = line[~line["extrapolated"]]
        beyond = pd.concat([within.tail(1), line[line["extrapolated"]]])
        panel.plot(within["cases"], within["dice"], label=f"{name}", zorder=2, **look)
        panel.plot(
            beyond["cases"], beyond["dice"], linestyle=BEYOND, label=f"_{name} beyond", **look
        )
    for name, points in cells.groupby("perturbation", sort=False):
        half = np.maximum([points["dice"] - points["low"], points["high"] - points["dice"]], 0)
        panel.errorbar(
            points["cases"],
            points["dice"],
            yerr=None if np.isnan(half).all() else half,
            linestyle="",
            elinewidth=0.6,
            label=f"_{name} measured",
            zorder=3,
            **looks[name],
        )
    panel.axhline(
        plan["wanted"].iloc[0], color=style.REFERENCE_LINE, linewidth=0.7, linestyle=(0, (1, 1.5))
    )
    shown = [cells[name] for name in ("dice", "low", "high")]
    panel.set_ylim(dice_limits(np.concatenate([*shown, plan["wanted"]])))
    _cases_axis(panel, plan["least"].iloc[0], plan["most"].iloc[0])


def _draw_equal(panel, cells, plan, family):
    """Draw lines of equal test Dice over cases and the label Dice of one kind of error."""
    sizes = plan[(plan["kind"] == family) | (plan["kind"] == "control")]
    sizes = sizes.sort_values("label_dice")
    least, most = plan["least"].iloc[0], plan["most"].iloc[0]
    first = plan.iloc[0]
    if not first["identified"]:
        say(panel, "not identified")
        return
    label_D = np.linspace(sizes["label_dice"].min(), sizes["label_dice"].max(), 80)
    end_D, scale_D = (
        np.interp(label_D, sizes["label_dice"], sizes[name]) for name in ("ends_at", "scale")
    )
    labelled: list[tuple[float, float]] = []
    for level in _levels(first, end_D, scale_D):
        is_wanted = level == first["wanted"]
        look = {"color": "black" if is_wanted else "0.55", "linewidth": 1.6 if is_wanted else 0.8}
        cases_D = cases_for(level, end_D, scale_D, first["power"])
        is_inside_D = (cases_D >= least) & (cases_D <= most)
        panel.plot(cases_D, label_D, linestyle=BEYOND, label=f"_{level:g} beyond", **look)
        inside_D = np.where(is_inside_D, cases_D, np.nan)
        panel.plot(inside_D, label_D, label=f"_{level:g}", **look)
        inside = np.flatnonzero(is_inside_D)
        # Where labels are best, if no other text is near.
        if len(inside) and _is_free(at := (cases_D[inside[-1]], label_D[inside[-1]]), labelled):
            labelled.append(at)
            away, side = ((0, 2), "center") if is_inside_D[-1] else ((3, 1), "left")
            look = {"textcoords": "offset points", "fontsize": 5, "ha": side}
            panel.annotate(f"{level:g}", at, away, color="black" if is_wanted else "0.35", **look)
    cases_M, label_M = np.meshgrid(np.unique(cells["cases"]), sizes["label_dice"])
    panel.plot(cases_M.ravel(), label_M.ravel(), ".", color="0.25", markersize=2, label="_measured")
    _cases_axis(panel, least, most)
    low = sizes["label_dice"].min()
    panel.set_ylim(low - 0.05 * (1 - low), 1 + 0.12 * (1 - low))


def _is_free(place, others):
    """Return whether a text at cases and label Dice is three quarters of a doubling from others."""
    return all(
        abs(np.log2(place[0] / cases)) > 0.75 or abs(place[1] - label_dice) > 0.02
        for cases, label_dice in others
    )


def _levels(first, end_D, scale_D):
    """Return test Dice at whose lines label Dice and cases are drawn, the wanted one first.

    About LEVELS, in round steps, of those within the cases measured, and none beside the wanted
    one.
    """
    low = dice_with(first["least"], end_D, scale_D, first["power"]).min()
    most = dice_with(first["most"], end_D, scale_D, first["power"]).max()
    step = next(each for each in STEPS if (most - low) / each <= LEVELS or each == STEPS[-1])
    levels = step * np.arange(np.ceil(low / step), np.floor(most / step) + 1)
    kept = [round(level, 3) for level in levels if abs(level - first["wanted"]) > step / 3]
    return [first["wanted"], *kept]


def _draw_prices(panel, plan, looks, names):
    plan = plan.sort_values(["price", "label_dice"], ascending=[True, False], kind="stable")
    first = plan.iloc[0]
    panel.set_yticks(
        range(len(plan)), [fitted(names[name], 0.9, 6.5) for name in plan["perturbation"]]
    )
    panel.set_ylim(len(plan) - 0.5, -0.5)
    panel.grid(visible=False, axis="y")
    panel.tick_params(axis="y", length=0)
    if not first["identified"] or not np.isfinite(plan["price"]).any():
        say(panel, "not reached" if first["identified"] else "not identified")
        return
    finite = plan[np.isfinite(plan["price"])]
    ends = finite[["price", "price_low", "price_high"]].to_numpy()
    most = finite["price"].max()
    ends = ends[np.isfinite(ends) & (ends <= 4 * most)]
    panel.set_xscale("log")
    panel.set_xlim(0.7 * ends.min(), 1.5 * ends.max())
    right = panel.get_xlim()[1]
    for place, row in enumerate(plan.to_dict("records")):
        look = looks[row["perturbation"]]
        if not np.isfinite(row["price"]):
            panel.plot([right / 1.1], [place], marker="x", linestyle="", color="0.45")
            continue
        low, high = row["price_low"], min(row["price_high"], right)
        line = BEYOND if row["extrapolated"] else "-"
        panel.plot([low, high], [place] * 2, color=look["color"], linewidth=0.9, linestyle=line)
        face = "white" if row["extrapolated"] else look["color"]
        panel.plot([row["price"]], [place], linestyle="", **look, markerfacecolor=face)
    _price_ticks(panel)


def _price_ticks(panel):
    """Label at most three round prices of an axis."""
    low, high = panel.get_xlim()
    tens = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for parts in ([1, 2, 5], [1, 3], [1]):
        ticks = np.sort(np.outer(tens, parts).ravel())
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        if len(ticks) <= 3:
            break
    panel.set_xticks(ticks[:: -(-len(ticks) // 3) or 1])
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.xaxis.set_minor_locator(NullLocator())


def _legend_groups(surface, looks, names):
    errors = [(names[name], Line2D([], [], linewidth=0.9, **look)) for name, look in looks.items()]
    marks = [
        ("fitted curve", Line2D([], [], color="0.25", linewidth=0.9)),
        ("extrapolated", Line2D([], [], color="0.25", linewidth=0.9, linestyle=BEYOND)),
        ("wanted test Dice", Line2D([], [], color="black", linewidth=1.6)),
    ]
    if surface["low"].notna().any():
        bar = Line2D([], [], color="0.25", marker="|", markersize=8, linestyle="")
        marks.append((f"95 % interval ({covered(surface)})", bar))
    return [errors, marks]
