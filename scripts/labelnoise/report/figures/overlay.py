"""One panel that compares a mask with its reference; H height, W width."""

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke

from labelnoise.counts import dice, overlap
from labelnoise.report import style

OUTLINE = {"colors": "white", "linewidths": 0.45}
HALO = [Stroke(linewidth=1.0, foreground="black"), Normal()]
OPACITY = 0.9

# Room around and between the panels, inches: row names, titles, legend, and Dice below each panel.
LEFT, RIGHT, TITLE, BOTTOM = 0.2, 0.03, 0.155, 0.25
GAP, CAPTION = 0.03, 0.19


def overlay_grid(rows, columns, lines=1):
    """Square panels close together, one column of a paper wide for up to four of them, else a page.

    Above the first row is room for titles of so many lines.

    Returns:
        Figure and its (rows, columns) array of Axes.
    """
    width = style.COLUMN_WIDTH if columns <= 4 else style.PAGE_WIDTH
    side = (width - LEFT - RIGHT - GAP * (columns - 1)) / columns
    top = TITLE * lines
    height = top + (side + CAPTION) * rows + BOTTOM
    # Placed by hand: matplotlib's layouts settle slowly, and differ by file, for square panels.
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(
        rows,
        columns,
        squeeze=False,
        gridspec_kw={
            "left": LEFT / width,
            "right": 1 - RIGHT / width,
            "bottom": (BOTTOM + CAPTION) / height,
            "top": 1 - top / height,
            "wspace": GAP / side,
            "hspace": CAPTION / side,
        },
    )
    return figure, axes


def draw_overlay(panel, image_HW, reference_HW, mask_HW=None, view=(slice(None),) * 2):
    """Draw image, reference outline, and the pixels that the mask adds or misses; Dice below.

    Args:
        panel: matplotlib Axes.
        image_HW: grey levels in [-1, 1], or None for a white ground on which agreement is grey.
        reference_HW, mask_HW: binary masks; without a mask only the reference is outlined.
        view: slices of the rows and columns to show; Dice is that of the whole slice.
    """
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


def colour_errors(reference_HW, mask_HW, show_agreement=False):
    """Colours of false positives and false negatives; all else is transparent, or agreement grey.

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


def overlay_handles(added, missed):
    """Legend entries of an overlay, under the names given to added and missed pixels."""
    outline = Patch(facecolor="none", edgecolor="black", linewidth=0.5)
    return [
        [("reference outline", outline)],
        [(added, Patch(facecolor=style.ADDED))],
        [(missed, Patch(facecolor=style.MISSED))],
    ]


def crop_window(reference_HW, margin):
    """Slices of rows and columns that show the reference, `margin` of its size on each side.

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
    """Slice of length `side`, moved into 0..size, or all of it."""
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
