"""What all figures share: the paper's style, panels, the legend below them, and the files.

The style is Seaborn's white grid for a paper, tightened to the sizes that journals print.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import seaborn
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from labelnoise.errors import InputError
from labelnoise.files import whole_file

COLUMN_WIDTH = 3.5  # inches, one column of a paper
PAGE_WIDTH = 7.0
RESOLUTION = 300  # dots per inch of a PNG

RC = {
    **seaborn.axes_style("whitegrid"),
    **seaborn.plotting_context("paper"),
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
    wide: bool,
    sharey: bool | str = "row",
    xlabel: str = "",
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its (rows, columns) Axes, which share their x axis.

    Args:
        rows: rows of panels.
        titles: title of each column.
        height: of the figure, inches.
        wide: whether it is as wide as a page, not a column.
        sharey: which panels share their y axis, as in `Figure.subplots`.
        xlabel: label below the last row.
    """
    figure = Figure(figsize=(PAGE_WIDTH if wide else COLUMN_WIDTH, height), layout="constrained")
    axes = figure.subplots(rows, len(titles), sharex=True, sharey=sharey, squeeze=False)
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title)
    for panel in axes[-1]:
        panel.set_xlabel(xlabel)
    return figure, axes


def empty_figure(reason: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure = Figure(figsize=(COLUMN_WIDTH, 1.0))
    figure.text(0.5, 0.5, reason, ha="center")
    return figure


def grouped_legend(
    figure: Figure, groups: list[list[tuple[str, object]]], loc: str = "outside lower center"
) -> None:
    """Put one legend below all panels, with one column per group of (text, handle) pairs."""
    groups = [group for group in groups if group]
    length = max(len(group) for group in groups)
    # matplotlib fills a legend column by column, so short groups are filled up with blanks.
    blank = ("", Line2D([], [], linestyle=""))
    entries = [entry for group in groups for entry in [*group, *[blank] * (length - len(group))]]
    texts, handles = zip(*entries, strict=True)
    look = {"columnspacing": 1.6, "handlelength": 2.6, "borderpad": 0.7}
    figure.legend(handles, texts, loc=loc, ncols=len(groups), **look)


def covered(table: pd.DataFrame) -> str:
    """Return over what the intervals of a table are, in as many words as a legend has room for."""
    left = set(table["left_out"].fillna(""))
    over = [what for what in ("repeats", "cases") if any(what not in out for out in left)]
    return ", ".join(over)
