"""ROC curves of one dataset: means over repeats, by network, recipe and kind of error."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke

from labelnoise.evaluation.histograms import ScoreHistogram, average_precision
from labelnoise.evaluation.tables import spread
from labelnoise.report import style
from labelnoise.report.figures.canvas import grouped_legend, panel_grid, styled

# False positive rates at which curves are averaged. Most pixels are background: networks differ
# below a rate of 0.01, which a linear axis would hide.
GRID = np.geomspace(1e-4, 1, 241)
OPACITY = 0.25


@styled
def draw_roc(curves: pd.DataFrame) -> Figure:
    """Draw the mean true positive rate over repeats against the false positive rate, log scale.

    One row of panels per structure and network, one column per recipe, one line per perturbation.
    The band is one standard deviation over repeats to each side (none for a single
    repeat), the dot the mean rates at probability 0.5, where masks are scored. The numbers are mean
    average precision and its standard deviation: the AUC over all pixels is near 1 for all of them.

    Args:
        curves: rows of `tables.runs_table`, of one dataset, with a ScoreHistogram each in the
            column `histogram`.
    """
    networks, recipes = style.networks(curves["model"]), list(style.recipes(curves["recipe"]))
    rows = [(*pair, model) for pair in style.panels(curves) for model in networks]
    figure, axes = panel_grid(
        len(rows),
        titles=list(map(style.display, recipes)),
        height=2.0 * len(rows) + 0.7,
        wide=len(recipes) > 1,
        sharey=True,
        xlabel="false positive rate (log scale)",
    )
    for row_axes, (dataset, structure, model) in zip(axes, rows, strict=True):
        here = curves[(curves["structure"] == structure) & (curves["model"] == model)]
        for panel, recipe in zip(row_axes, recipes, strict=True):
            _draw_panel(panel, here[here["recipe"] == recipe])
        title = f"{style.display_panel(dataset, structure)}, {style.display(model)}"
        row_axes[0].set_ylabel(f"{title}\ntrue positive rate")
    grouped_legend(figure, _legend_groups(curves))
    return figure


def mean_curve(histograms: list[ScoreHistogram]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation over repeats of the true positive rate at GRID.

    Args:
        histograms: one per repeat; those without positives or negatives are left out.

    Returns:
        Two arrays like GRID; NaN where there are too few repeats.
    """
    rates = np.array([_at_grid(*histogram.curve()) for histogram in histograms])
    summaries = [spread(column) for column in rates.T]
    mean = np.array([summary["mean"] for summary in summaries])
    return mean, np.array([summary["sd"] for summary in summaries])


def _at_grid(false_positive_rate, true_positive_rate):
    # Where the curve rises straight up, its upper end counts.
    unique, last = np.unique(false_positive_rate[::-1], return_index=True)
    return np.interp(GRID, unique, true_positive_rate[::-1][last])


def _draw_panel(panel, curves):
    colors, handles = style.kinds(curves["kind"]), []
    for kind, color in colors.items():
        for name, runs in curves[curves["kind"] == kind].groupby("perturbation", sort=False):
            look = {"color": color, "linestyle": style.KIND_LINES.get(kind, "-")}
            _draw_mean(panel, runs["histogram"].tolist(), look, name)
            found = [average_precision(histogram.counts_2B) for histogram in runs["histogram"]]
            handles.append(Line2D([], [], label=_label(name, spread(found)), **_rimmed(look)))
    panel.set(xscale="log", xlim=(GRID[0], 1), ylim=(0, 1.02))
    # The curves of a poor network pass below the legend, which stays readable on white.
    panel.legend(
        handles=handles,
        loc="lower right",
        title="average precision",
        title_fontsize=6.5,
        alignment="left",
        borderaxespad=0.3,
        frameon=True,
        framealpha=0.8,
        edgecolor="none",
    )


def _draw_mean(panel, histograms, look, name):
    mean, sd = mean_curve(histograms)
    band = {"color": look["color"], "alpha": OPACITY, "linewidth": 0, "label": f"_band {name}"}
    panel.fill_between(GRID, *np.clip([mean - sd, mean + sd], 0, 1), **band)
    panel.plot(GRID, mean, label=f"_{name}", **_rimmed(look))
    decisions = np.array([histogram.decision() for histogram in histograms])
    x, y = (spread(rates)["mean"] for rates in decisions.T)
    panel.plot(x, y, "o", color=look["color"], label=f"_decision {name}", zorder=3, **_DOT)


_DOT = {"markersize": 4.2, "markeredgecolor": "0.15", "markeredgewidth": 0.5}


def _rimmed(look):
    effects = [Stroke(linewidth=1.9, foreground=style.RIM), Normal()]
    return look | {"linewidth": 1.2, "path_effects": effects}


def _label(name, found):
    """Return the number, then the perturbation, so that the numbers are aligned."""
    mean = "–" if np.isnan(found["mean"]) else f"{found['mean']:.4f}"
    sd = "" if np.isnan(found["sd"]) else f" ± {found['sd']:.4f}"
    return f"{mean}{sd}  {style.display_perturbation(name)}"


def _legend_groups(curves):
    repeated = curves["repeat"].nunique() > 1
    marks = [("mean over repeats" if repeated else "single run", Line2D([], [], color="0.25"))]
    if repeated:
        marks.append(("± standard deviation", Patch(facecolor="0.25", alpha=OPACITY)))
    dot = Line2D([], [], color="0.6", marker="o", linestyle="", **_DOT)
    return [marks, [("at probability 0.5", dot)]]
