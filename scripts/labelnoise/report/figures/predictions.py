"""Predictions on test slices after training on clean and on perturbed labels; H height, W width."""

from labelnoise.report import style
from labelnoise.report.figures.legends import grouped_legend
from labelnoise.report.figures.overlay import (
    crop_window,
    draw_overlay,
    overlay_grid,
    overlay_handles,
)


@style.styled
def examples(rows, row_titles, margin=0.6):
    """Draw each slice with its reference, then a prediction a column; the number below is its Dice.

    Args:
        rows: a tuple for each test slice: (image_HW, reference_HW, predictions), where predictions
            is a list of (title, prediction_HW), the control first. Images are in [-1, 1]; titles
            are shown above the first row.
        row_titles: name of each slice.
        margin: how much is shown around the reference, as a share of its size; None shows all.

    Returns:
        matplotlib Figure.
    """
    columns = 1 + max(len(predictions) for _, _, predictions in rows)
    figure, axes = overlay_grid(len(rows), columns)
    for row_axes, (image_HW, reference_HW, predictions), name in zip(
        axes, rows, row_titles, strict=True
    ):
        view = crop_window(reference_HW, margin)
        draw_overlay(row_axes[0], image_HW, reference_HW, view=view)
        row_axes[0].set_ylabel(name)
        for panel, (_, prediction_HW) in zip(row_axes[1:], predictions, strict=False):
            draw_overlay(panel, image_HW, reference_HW, prediction_HW, view=view)
        for panel in row_axes[1 + len(predictions) :]:
            panel.set_axis_off()
    titles = ["reference", *(title for title, _ in rows[0][2])]
    for panel, title in zip(axes[0], titles, strict=False):
        panel.set_title(title, fontsize=7, pad=2)
    grouped_legend(figure, overlay_handles("false positive", "false negative"), loc="lower center")
    return figure
