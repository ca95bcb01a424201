"""Predictions on test slices after training on clean and on perturbed labels; H height, W width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.report.figures.canvas import styled
from labelnoise.report.figures.overlay import Overlay, draw_overlays
from labelnoise.report.figures.slices import row_title, slice_name, typical_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from labelnoise.data.storage import Dataset
    from labelnoise.training.checkpoints import TrainedNetwork
    from labelnoise.training.trainers.predictions import Predictions


@styled
def draw_predictions(rows: list[list[Overlay]], titles: list[str]) -> Figure:
    """Draw each slice with its reference, then one prediction per column, its Dice below.

    Args:
        rows: for each test slice its panels: the reference, then each prediction.
        titles: name of each slice.
    """
    return draw_overlays(rows, titles, margin=0.6, legend=("false positive", "false negative"))


def predicted_rows(
    data: Dataset,
    networks: Mapping[str, TrainedNetwork | Predictions],
    names: Mapping[str, str],
    number: int = 4,
) -> tuple[list[list[Overlay]], list[str]]:
    """Predict a few test slices with several trained networks; every structure in its own rows.

    Args:
        data: the dataset.
        networks: {perturbation: network, or a trainer's predictions}, the control first.
        names: display names of the perturbations, see `style.perturbations`.
        number: how many slices, shared among the structures.

    Returns:
        (rows, titles) for `draw_predictions`.
    """
    rows, titles = [], []
    for index, chosen in typical_rows(data, "test", number).items():
        if not chosen:
            continue
        images_NKHW, labels_NHW = data.read(chosen)
        shown_NHW = data.grey(images_NKHW)
        masks = {"reference": [None] * len(chosen)} | {
            names[name]: network.predict_rows(chosen, images_NKHW)[:, index] > 0.5
            for name, network in networks.items()
        }
        for place, row in enumerate(chosen):
            reference_HW = (labels_NHW[place] == index).astype(np.uint8)
            shown = shown_NHW[place], reference_HW
            rows.append([Overlay(title, *shown, mask[place]) for title, mask in masks.items()])
            titles.append(row_title(data, index, slice_name(data, row)))
    return rows, titles
