"""ROC curves of one dataset: means over repeats, by network, recipe and kind of error."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke
from matplotlib.transforms import ScaledTranslation

from labelnoise.evaluation.histograms import ScoreHistogram, average_precision
from labelnoise.evaluation.tables import spread
from labelnoise.report import style
from labelnoise.report.figures.canvas import (
    grouped_legend,
    name_row,
    panel_grid,
    panel_width,
    say,
    styled,
)

# False positive rates at which curves are averaged. Most pixels are background: networks differ
# below a rate of 0.01, which a linear axis would hide.
GRID = np.geomspace(1e-4, 1, 241)
OPACITY = 0.25
HEIGHT = 2.0  # inches, of a panel
NUMBER = 1.3  # inches, of an average precision and its line


@styled
def draw_roc(curves: pd.DataFrame) -> Figure:
    """Draw the mean true positive rate over repeats against the false positive rate, log scale.

    One row of panels per structure and network, one column per recipe, one line per perturbation:
    its colour is the kind of error, its style too, or, where errors of a kind are drawn in several
    ways, how. The band is one standard deviation over repeats to each side (none for a single
    repeat), the dot the mean rates at probability 0.5, where masks are scored. The numbers below a
    panel are mean average precision and its standard deviation: the AUC over all pixels is near 1
    for all of them.

    Args:
        curves: rows of `tables.runs_table`, of one dataset, with a ScoreHistogram each in the
            column `histogram`.
    """
    networks, recipes = style.networks(curves["model"]), list(style.recipes(curves["recipe"]))
    rows = [(*pair, model) for pair in style.panels(curves) for model in networks]
    looks, wide = _looks(curves), len(recipes) > 1
    columns = max(1, int(panel_width(len(recipes), wide) / NUMBER))
    figure, axes = panel_grid(
        len(rows),
        titles=list(map(style.display, recipes)),
        height=HEIGHT + 0.14 * (1 + -(-len(looks) // columns)),
        below=0.8,
        wide=wide,
        sharey=True,
        xlabel="false positive rate (log scale)",
    )
    for row_axes, (dataset, structure, model) in zip(axes, rows, strict=True):
        here = curves[(curves["structure"] == structure) & (curves["model"] == model)]
        for panel, recipe in zip(row_axes, recipes, strict=True):
            _draw_panel(panel, here[here["recipe"] == recipe], looks, columns)
        title = f"{style.display_panel(dataset, structure)}, {style.display(model)}"
        name_row(row_axes, f"{title}\ntrue positive rate", HEIGHT + 0.1)
    grouped_legend(figure, _legend_groups(curves, looks))
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


def _looks(curves):
    """Return the look of each perturbation's line, kinds together."""
    colors, lines = style.kinds(curves["kind"]), style.kind_lines(curves["kind"])
    drawn, found = style.draws_lines(curves), curves.drop_duplicates("perturbation")
    return {
        row.perturbation: {
            "color": color,
            "linestyle": drawn.get(row.draws, "-") if drawn else lines[kind],
        }
        for kind, color in colors.items()
        for row in found[found["kind"] == kind].itertuples()
    }


def _draw_panel(panel, curves, looks, columns):
    handles = []
    for name, look in looks.items():
        histograms = curves.loc[curves["perturbation"] == name, "histogram"].tolist()
        if histograms:
            _draw_mean(panel, histograms, look, name)
            found = [average_precision(histogram.counts_2B) for histogram in histograms]
            handles.append(Line2D([], [], label=_number(spread(found)), **_rimmed(look)))
    panel.set(xscale="log", xlim=(GRID[0], 1), ylim=(0, 1.02))
    if curves.empty:
        # A network and a recipe that do not go together.
        say(panel, "no runs")
        return
    if not any(histogram.positives for histogram in curves["histogram"]):
        say(panel, "no scores")
    # Anywhere in the panel it would hide a curve of some network.
    ticks = panel.xaxis.get_tick_params()["labelbottom"]
    labels = 0.42 if panel.get_xlabel() else 0.22 if ticks else 0.05
    below = ScaledTranslation(0, -labels, panel.figure.dpi_scale_trans)
    panel.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=panel.transAxes + below,
        ncols=columns,
        title="average precision",
        title_fontsize=6.5,
        alignment="left",
        borderaxespad=0,
        borderpad=0,
        columnspacing=1.2,
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


def _number(found):
    mean = "–" if np.isnan(found["mean"]) else f"{found['mean']:.4f}"
    return mean + ("" if np.isnan(found["sd"]) else f" ± {found['sd']:.4f}")


def _legend_groups(curves, looks):
    names = style.perturbations_of(curves)
    lines = [(names[name], Line2D([], [], **_rimmed(look))) for name, look in looks.items()]
    repeated = curves["repeat"].nunique() > 1
    marks = [("mean over repeats" if repeated else "single run", Line2D([], [], color="0.25"))]
    if repeated:
        marks.append(("± standard deviation", Patch(facecolor="0.25", alpha=OPACITY)))
    dot = Line2D([], [], color="0.6", marker="o", linestyle="", **_DOT)
    return [lines, marks, [("at probability 0.5", dot)]]
