"""Panels that compare a mask with its reference; H height, W width."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke

from labelnoise.counts import dice, overlap
from labelnoise.report import style
from labelnoise.report.figures.canvas import COLUMN_WIDTH, PAGE_WIDTH, RC, fitted, grouped_legend

OUTLINE = {"colors": "white", "linewidths": 0.45}
HALO = [Stroke(linewidth=1.0, foreground="black"), Normal()]
OPACITY = 0.9

# Room around and between the panels, inches: row names, titles, legend, and Dice below each panel.
LEFT, RIGHT, TITLE, BOTTOM = 0.2, 0.03, 0.155, 0.25
GAP, CAPTION = 0.03, 0.19
MOST_PANELS = 10  # side by side
MOST_SIDE = 1.35  # inches
TITLE_SIZE = 7  # points


class Overlay(NamedTuple):
    """What one panel shows.

    title: shown above the first row.
    image_HW: grey levels in [-1, 1], or None for a white ground on which agreement is grey.
    reference_HW: binary mask, which is outlined.
    mask_HW: binary mask, or None for the reference alone.
    """

    title: str
    image_HW: np.ndarray | None
    reference_HW: np.ndarray
    mask_HW: np.ndarray | None


def draw_overlays(
    rows: list[list[Overlay]],
    titles: list[str],
    margin: float | None,
    legend: tuple[str, str],
) -> Figure:
    """Draw rows of panels, and below them what their colours mean.

    Rows of one panel stand side by side; rows of more panels than fit are broken into several
    blocks of rows.

    Args:
        rows: the panels of each row; the longest row need not be the first.
        titles: name of each row.
        margin: how much is shown around the reference, as a share of its size; None shows all.
        legend: names of pixels that a mask adds, and of pixels that it misses.
    """
    if len(rows) > 1 and max(map(len, rows)) == 1:
        name = rows[0][0].title.replace("\n", " ")
        named = zip(rows, titles, strict=True)
        rows, titles = [[row[0]._replace(title=title) for row, title in named]], [name]
    longest = max(map(len, rows))
    blocks = -(-longest // MOST_PANELS)
    across = -(-longest // blocks)
    broken = [row[start : start + across] for start in range(0, longest, across) for row in rows]
    side = _side(across)
    heads = [fitted(shown.title, side, TITLE_SIZE, lines=3) for shown in rows[0]]
    lines = 1 + max(head.count("\n") for head in heads)
    figure, axes = _square_panels(len(rows), blocks, across, lines)
    for place, (row_axes, row) in enumerate(zip(axes, broken, strict=True)):
        block, index = divmod(place, len(rows))
        row_axes[0].set_ylabel(fitted(titles[index], side + CAPTION / 2, RC["axes.labelsize"]))
        for panel in row_axes[len(row) :]:
            panel.set_axis_off()
        for panel, shown in zip(row_axes, row, strict=False):
            draw_overlay(panel, shown, crop_window(shown.reference_HW, margin))
        if not index:
            for panel, head in zip(row_axes, heads[block * across :], strict=False):
                panel.set_title(head, fontsize=TITLE_SIZE, pad=1 + lines)
    outline = Patch(facecolor="none", edgecolor="black", linewidth=0.5)
    handles = [outline, Patch(facecolor=style.ADDED), Patch(facecolor=style.MISSED)]
    names = ["reference outline", *legend]
    grouped_legend(figure, [[pair] for pair in zip(names, handles, strict=True)], "lower center")
    return figure


def _side(columns: int) -> float:
    """Return the side of so many square panels side by side, inches.

    They fill a column of a paper for up to four, else a page, but are no larger than MOST_SIDE.
    """
    width = COLUMN_WIDTH if columns <= 4 else PAGE_WIDTH
    return min((width - LEFT - RIGHT - GAP * (columns - 1)) / columns, MOST_SIDE)


def _square_panels(rows: int, blocks: int, columns: int, lines: int) -> tuple[Figure, np.ndarray]:
    """Return a figure and its (blocks * rows, columns) square Axes, close together.

    Above the first row of each block is room for titles of `lines` lines.
    """
    width = COLUMN_WIDTH if columns <= 4 else PAGE_WIDTH
    side = _side(columns)
    top = TITLE * lines
    block = top + (side + CAPTION) * rows
    height = block * blocks + BOTTOM
    # What the largest panels leave, on each side.
    spare = (width - LEFT - RIGHT - GAP * (columns - 1) - side * columns) / 2
    spare = spare if side == MOST_SIDE else 0.0
    # Placed by hand: matplotlib's layouts settle slowly, and differ by file, for square panels.
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(
        rows * blocks,
        columns,
        squeeze=False,
        gridspec_kw={
            "left": (LEFT + spare) / width,
            "right": 1 - (RIGHT + spare) / width,
            "bottom": (BOTTOM + CAPTION) / height,
            "top": 1 - top / height,
            "wspace": GAP / side,
            "hspace": CAPTION / side,
        },
    )
    if blocks > 1:
        for place, panels in enumerate(axes):
            low = height - block * (place // rows) - top - (side + CAPTION) * (place % rows) - side
            for panel in panels:
                panel.set_position(
                    (panel.get_position().x0, low / height, side / width, side / height)
                )
    return figure, axes


def draw_overlay(panel: Axes, shown: Overlay, view: tuple[slice, slice]) -> None:
    """Draw image, reference outline, and the pixels that the mask adds or misses; Dice below.

    `view` says which rows and columns are shown; Dice is that of the whole slice.
    """
    _, image_HW, reference_HW, mask_HW = shown
    if image_HW is not None:
        grey_HW = np.asarray(image_HW, dtype=np.float32)[view]
        panel.imshow(grey_HW, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    if mask_HW is not None:
        colours = colour_errors(reference_HW[view], mask_HW[view], show_agreement=image_HW is None)
        panel.imshow(colours, interpolation="nearest")
        panel.set_xlabel(_dice_text(dice(overlap(reference_HW, mask_HW))), labelpad=2)
    _outline(panel, reference_HW[view])
    panel.grid(visible=False)
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set(visible=True, linewidth=0.4, color="0.6")


def colour_errors(
    reference_HW: np.ndarray, mask_HW: np.ndarray, show_agreement: bool = False
) -> np.ndarray:
    """Return the colours of false positives and false negatives.

    All else is transparent, except for agreement, which may be shown in grey.

    Returns:
        (H, W, 4) array, red, green, blue and opacity in [0, 1].
    """
    reference_HW, mask_HW = reference_HW > 0, mask_HW > 0
    colours = np.zeros((*reference_HW.shape, 4))
    colours[mask_HW & ~reference_HW] = to_rgba(style.ADDED, OPACITY)
    colours[reference_HW & ~mask_HW] = to_rgba(style.MISSED, OPACITY)
    if show_agreement:
        colours[reference_HW & mask_HW] = to_rgba(style.AGREED)
    return colours


def crop_window(reference_HW: np.ndarray, margin: float | None) -> tuple[slice, slice]:
    """Return the rows and columns that show the reference, `margin` of its size on each side.

    A square of at least an eighth of the slice; the whole slice for an empty reference or margin
    None.
    """
    rows, columns = np.nonzero(reference_HW)
    if margin is None or not len(rows):
        return slice(None), slice(None)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    side = int(np.ceil(max(max(height, width) * (1 + 2 * margin), max(reference_HW.shape) / 8)))
    starts = rows.min() - (side - height) // 2, columns.min() - (side - width) // 2
    return tuple(map(_inside, starts, [side, side], reference_HW.shape))


def _inside(start, side, size):
    """Return a slice of length `side`, moved into 0..size, or the whole range."""
    start = max(min(int(start), size - side), 0)
    return slice(start, min(start + side, size))


def _outline(panel, reference_HW):
    if not np.any(reference_HW):
        return
    # A frame of background closes the outline of an object that touches the edge.
    padded_HW = np.pad(np.asarray(reference_HW) > 0, 1).astype(float)
    height, width = padded_HW.shape
    lines = panel.contour(
        np.arange(width) - 1, np.arange(height) - 1, padded_HW, levels=[0.5], **OUTLINE
    )
    lines.set_path_effects(HALO)
    panel.set(xlim=(-0.5, width - 2.5), ylim=(height - 2.5, -0.5))


def _dice_text(value):
    return "–" if np.isnan(value) else f"{value:.3f}"
