"""Each kind and size of label error on a disc and on real slices; H height, W width."""

import numpy as np

from labelnoise.report import style
from labelnoise.report.figures.legends import grouped_legend
from labelnoise.report.figures.overlay import (
    crop_window,
    draw_overlay,
    overlay_grid,
    overlay_handles,
)


@style.styled
def gallery(rows, row_titles, margin=0.35):
    """Draw perturbed labels against their reference; the number below a panel is its label Dice.

    The label Dice is that of the whole slice shown, not of the training set.

    Args:
        rows: a list for each row (disc, slice A, ...) of panels (title, image_HW or None,
            reference_HW, perturbed_HW), one for each kind and size. Images are in [-1, 1]; titles
            are shown above the first row.
        row_titles: name of each row.
        margin: how much is shown around the reference, as a share of its size; None shows all.

    Returns:
        matplotlib Figure.
    """
    columns = max(len(row) for row in rows)
    figure, axes = overlay_grid(len(rows), columns, lines=2)
    for row_axes, row, name in zip(axes, rows, row_titles, strict=True):
        row_axes[0].set_ylabel(name)
        for panel in row_axes[len(row) :]:
            panel.set_axis_off()
        for panel, (_, image_HW, reference_HW, perturbed_HW) in zip(row_axes, row, strict=False):
            view = crop_window(reference_HW, margin)
            draw_overlay(panel, image_HW, reference_HW, perturbed_HW, view=view)
    for panel, (title, *_) in zip(axes[0], rows[0], strict=False):
        panel.set_title(title.replace(" ", "\n", 1), fontsize=7, pad=3)
    grouped_legend(figure, overlay_handles("added", "missed"), loc="lower center")
    return figure


def disc(size=128, radius=None):
    """A disc in the middle of a square slice, the plainest object to perturb.

    Args:
        size: side of the slice, pixels.
        radius: pixels; a quarter of the side if not given.

    Returns:
        (size, size) uint8 mask in {0, 1}.
    """
    radius = size / 4 if radius is None else radius
    offset = np.arange(size) - (size - 1) / 2
    return (offset[:, None] ** 2 + offset**2 <= radius**2).astype(np.uint8)
