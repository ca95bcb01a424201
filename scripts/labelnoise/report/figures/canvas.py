"""What all figures share: the paper's style, panels, the legend below them, and the files.

The style is a white grid, as Seaborn has it, in the sizes that journals print.
"""

from collections.abc import Callable, Iterable
from functools import cache, wraps
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import CARETDOWN, CARETLEFT, CARETRIGHT, CARETUP, Line2D
from matplotlib.textpath import text_to_path
from numpy.typing import ArrayLike

from labelnoise.errors import InputError
from labelnoise.files import whole_file

COLUMN_WIDTH = 3.5  # inches, one column of a paper
PAGE_WIDTH = 7.0
RESOLUTION = 300  # dots per inch of a PNG
MOST_PANELS = 4  # side by side
GAP = 0.12  # between panels, inches
LEGEND_TEXT = 2.4  # width of the longest entry, inches
LEGEND_LINES, LEGEND_LINE = 4, 0.135  # lines that figures have room for; height of another, inches
# Of intervals that leave their panel, at its low and its high end; their tips touch the edge.
ARROWHEADS = {"x": (CARETLEFT, CARETRIGHT), "y": (CARETDOWN, CARETUP)}
CUT = {"markersize": 4, "markeredgewidth": 0, "zorder": 5, "label": "_cut"}

RC: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelcolor": "0.15",
    "text.color": "0.15",
    "xtick.color": "0.15",
    "ytick.color": "0.15",
    "xtick.minor.size": 3.2,
    "ytick.minor.size": 3.2,
    "xtick.minor.width": 0.8,
    "ytick.minor.width": 0.8,
    "lines.solid_capstyle": "round",
    "patch.edgecolor": "white",
    "patch.force_edgecolor": True,
    "patch.linewidth": 0.8,
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.edgecolor": "0.15",
    "xtick.bottom": True,
    "ytick.left": True,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "grid.color": "0.92",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.8,
    "pdf.fonttype": 42,  # journals refuse Type 3 fonts
    "savefig.dpi": RESOLUTION,
}


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorate a function that draws a figure, so that it draws in this style alone."""

    @wraps(draw)
    def wrapper(*args, **kwargs):
        with matplotlib.rc_context(RC):
            return draw(*args, **kwargs)

    return wrapper


@styled
def save(figure: Figure, path: Path) -> None:
    """Write a figure as PDF or PNG, by suffix; equal figures give equal bytes.

    Raises:
        InputError: the suffix is neither .pdf nor .png.
    """
    # Dates and version strings would make equal figures differ.
    metadata = {".pdf": {"CreationDate": None}, ".png": {"Software": None}}
    suffix = Path(path).suffix.lower()
    if suffix not in metadata:
        raise InputError(
            f"{path}: a figure is written as .pdf or .png, not as {suffix or 'no suffix'}."
        )
    with whole_file(path) as temporary:
        figure.savefig(temporary, format=suffix[1:], metadata=metadata[suffix])


def save_all(figure: Figure, paths: Iterable[Path]) -> None:
    """Write a figure to several paths; see `save`."""
    for path in paths:
        save(figure, path)
        # Another drawing would move the panels by a trifle; all files show the layout of the first.
        figure.set_layout_engine("none")


def panel_grid(
    rows: int,
    titles: list[str],
    height: float,
    below: float,
    wide: bool,
    sharey: bool | str = "row",
    xlabel: str = "",
    left: float = 0.6,
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its (rows, columns) Axes, which share their x axis.

    Where there are more columns than fit side by side, each row is broken into several lines of
    panels; its Axes still are one row of the array. Titles and labels are broken into lines, or
    shortened, so that they are no wider than their panel.

    Args:
        rows: rows of panels.
        titles: title of each column.
        height: of a line of panels, inches.
        below: height of all else, inches.
        wide: whether it is as wide as a page, not a column.
        sharey: which panels share their y axis, as in `Figure.subplots`.
        xlabel: label below the last row.
        left: about how wide the labels of the y axis are, inches.
    """
    lines, across = _lines(len(titles))
    room = panel_width(len(titles), wide, left)
    names = [fitted(title, room, RC["axes.titlesize"], lines=2) for title in titles]
    label = fitted(xlabel, room, RC["axes.labelsize"], lines=2)
    taller = 0.12 * (max(name.count("\n") for name in names) + label.count("\n"))
    # Panels that do not stand below others have a title and tick labels of their own.
    height = height + (0.35 if lines > 1 else 0.0)
    size = PAGE_WIDTH if wide else COLUMN_WIDTH, height * rows * lines + below + taller
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows * lines, across, sharex=True, sharey=sharey, squeeze=False)
    if sharey == "row":
        for place in range(rows * lines):
            if first := place % lines:
                grid[place, 0].sharey(grid[place - first, 0])
    places = [divmod(place, across) for place in range(len(titles))]
    axes = np.array([[grid[row * lines + y, x] for y, x in places] for row in range(rows)])
    for panel in set(grid.flat) - set(axes.flat):
        panel.remove()
    for panels in axes if lines > 1 else axes[:1]:
        for panel, name in zip(panels, names, strict=True):
            panel.set_title(name)
    # The lowest of each column, which need not stand in the last line.
    for panel in axes[-1, -across:]:
        panel.tick_params(axis="x", labelbottom=True)
        if panel.get_subplotspec().is_last_row():
            panel.set_xlabel(label)
    return figure, axes


def panel_width(columns: int, wide: bool, left: float = 0.6) -> float:
    """Return about how wide a panel will be, inches; for the arguments see `panel_grid`."""
    return ((PAGE_WIDTH if wide else COLUMN_WIDTH) - left) / _lines(columns)[1] - GAP


def _lines(columns):
    """Return in how many lines a row's panels stand, and how many stand side by side."""
    lines = -(-columns // MOST_PANELS)
    return lines, -(-columns // lines)


def name_row(row: Iterable[Axes], name: str, height: float) -> None:
    """Label the y axis of a row of panels, see `panel_grid`, in each of its lines.

    Args:
        row: its Axes.
        name: the label, shortened where it is longer than a panel.
        height: of a row with the room between rows, inches.
    """
    for panel in row:
        if panel.get_subplotspec().is_first_col():
            panel.set_ylabel(fitted(name, height - 0.3, RC["axes.labelsize"]))


def fitted(text: str, width: float, size: float, lines: int = 1) -> str:
    """Return a text no wider than some room, broken at blanks, and shortened where that must be.

    Args:
        text: the text; its own line breaks are kept.
        width: inches.
        size: of the font, points.
        lines: of each of the text's own lines, at most.
    """
    return "\n".join(
        line for own in text.split("\n") for line in _broken(own, 72 * width, size, lines)
    )


def text_width(texts: Iterable[str], size: float) -> float:
    """Return the width of the widest of some texts of one line, inches.

    Args:
        texts: the texts.
        size: of the font, points.
    """
    return max(_points(text, size) for text in texts) / 72


def _broken(text, points, size, lines):
    if _points(text, size) <= points:
        return [text]
    found = [""]
    for word in text.split(" "):
        longer = f"{found[-1]} {word}".strip()
        if found[-1] and len(found) < lines and _points(longer, size) > points:
            found.append(word)
        else:
            found[-1] = longer
    return [_shortened(line, points, size) for line in found]


def _shortened(text, points, size):
    """Return a text, without as much of its middle as does not fit."""
    kept, short = len(text), text
    while kept > 2 and _points(short, size) > points:
        kept -= 1
        short = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    return short


@cache
def _points(text: str, size: float) -> float:
    """Return the width of a line of text in points."""
    font = FontProperties(family=RC["font.family"], size=size)
    return text_to_path.get_text_width_height_descent(text, font, False)[0] if text else 0.0


def empty_figure(reason: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure = Figure(figsize=(COLUMN_WIDTH, 1.0))
    figure.text(0.5, 0.5, fitted(reason, COLUMN_WIDTH - 0.2, RC["font.size"], 3), ha="center")
    return figure


def say(panel: Axes, reason: str) -> None:
    """Write in the middle of a panel why it is empty."""
    look = {"ha": "center", "va": "center", "color": "0.45", "label": "_empty"}
    panel.text(0.5, 0.5, reason, transform=panel.transAxes, **look)


def dice_limits(values: ArrayLike) -> tuple[float, float]:
    """Return the limits of an axis that shows every value, but hardly an impossible Dice.

    Equal values, such as zeros, get some room; without any it is all of 0 to 1.

    Args:
        values: Dice and ends of intervals; NaN is left out.
    """
    found = np.asarray(values, float)
    found = found[np.isfinite(found)]
    low, high = (found.min(), found.max()) if len(found) else (0.0, 1.0)
    if high - low < 1e-6:
        low = min(max(low - 0.05, 0.0), 0.9)
        high = low + 0.1
    pad = max(0.06 * (high - low), 0.01)
    beyond = min(0.02, 0.05 * (high - low))
    return max(low - pad, -beyond), min(high + pad, 1 + beyond)


def mark_cuts(
    panel: Axes, along: str, at: ArrayLike, low: ArrayLike, high: ArrayLike, **look: Any
) -> None:
    """Put an arrowhead where an interval leaves its panel; call it when the limits are set.

    Args:
        panel: the panel.
        along: axis of the intervals, "x" or "y".
        at: place of each interval on the other axis.
        low, high: its ends.
        look: of the arrowheads, besides their shape.
    """
    first, last = sorted(panel.get_xlim() if along == "x" else panel.get_ylim())
    ends = [(np.asarray(low, float) < first, first, 0), (np.asarray(high, float) > last, last, 1)]
    for cut, limit, end in ends:
        places = np.asarray(at, float)[cut]
        if not len(places):
            continue
        limits = np.full(len(places), limit)
        x, y = (limits, places) if along == "x" else (places, limits)
        panel.plot(x, y, marker=ARROWHEADS[along][end], linestyle="", **{**CUT, **look})


def grouped_legend(
    figure: Figure, groups: list[list[tuple[str, object]]], loc: str = "outside lower center"
) -> None:
    """Put one legend below all panels, with one column per group of (text, handle) pairs.

    If that is too wide or too tall, groups are stacked, or broken into several columns, and the
    figure grows with what is more than four lines.
    """
    groups = [
        [(fitted(text, LEGEND_TEXT, RC["legend.fontsize"]), handle) for text, handle in group]
        for group in groups
        if group
    ]
    tall = max(map(len, groups)) > LEGEND_LINES
    legend = None if tall else _legend(figure, groups, loc)
    lines = max(map(len, groups))
    if legend is None:
        for lines in range(1, sum(map(len, groups)) + 1):
            if legend := _legend(figure, _packed(groups, lines), loc):
                break
    figure.set_figheight(figure.get_figheight() + LEGEND_LINE * max(0, lines - LEGEND_LINES))


def _packed(groups, lines):
    """Return columns of at most so many lines: long groups broken, short ones stacked."""
    columns: list[list] = []
    for group in groups:
        if columns and len(columns[-1]) + len(group) <= lines:
            columns[-1] = [*columns[-1], *group]
        else:
            columns += [group[start : start + lines] for start in range(0, len(group), lines)]
    return columns


def _legend(figure, columns, loc):
    """Return the legend of these columns, if it is no wider than the figure."""
    length = max(map(len, columns))
    # matplotlib fills a legend column by column, so short groups are filled up with blanks.
    blank = ("", Line2D([], [], linestyle=""))
    entries = [entry for group in columns for entry in [*group, *[blank] * (length - len(group))]]
    texts, handles = zip(*entries, strict=True)
    look = {"columnspacing": 1.6, "handlelength": 2.6, "borderpad": 0.7}
    legend = figure.legend(handles, texts, loc=loc, ncols=len(columns), **look)
    if len(columns) > 1 and legend.get_window_extent().width > figure.bbox.width:
        legend.remove()
        return None
    return legend


def covered(table: pd.DataFrame) -> str:
    """Return over what the intervals of a table are, in as many words as a legend has room for."""
    left = set(table["left_out"].fillna(""))
    over = [what for what in ("repeats", "cases") if any(what not in out for out in left)]
    return ", ".join(over)
