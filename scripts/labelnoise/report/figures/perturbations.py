"""Each kind and size of label error on a disc and on real slices; H height, W width."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from labelnoise.errors import InputError
from labelnoise.files import read_json
from labelnoise.labels.perturbations import perturb
from labelnoise.own_code import load_own
from labelnoise.report.figures.canvas import styled
from labelnoise.report.figures.overlay import Overlay, draw_overlays
from labelnoise.report.figures.slices import row_title, slice_name, typical_rows
from labelnoise.seeds import derive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from labelnoise.data.storage import Dataset


@styled
def draw_perturbations(rows: list[list[Overlay]], titles: list[str]) -> Figure:
    """Draw perturbed labels against their reference; the number below a panel is its label Dice.

    The label Dice is that of the whole slice shown, not of the training set.

    Args:
        rows: for each row (disc, slice A, ...) its panels, one per kind and size.
        titles: name of each row.
    """
    rows = [
        [panel._replace(title=panel.title.replace(" ", "\n", 1)) for panel in row] for row in rows
    ]
    return draw_overlays(rows, titles, margin=0.35, legend=("added", "missed"))


def perturbed_rows(
    data: Dataset, calibrations: list[Path], names: Mapping[str, str], seed: int
) -> tuple[list[list[Overlay]], list[str]]:
    """Perturb a disc and two slices of a dataset with every calibrated error.

    Several structures get rows of their own, a disc and one slice each.

    Args:
        data: the dataset.
        calibrations: calibration files, in the order of the figure's columns.
        names: display names of their perturbations, see `style.perturbations`.
        seed: the study's seed.

    Returns:
        (rows, titles) for `draw_perturbations`.

    Raises:
        InputError: there is no error to show.
    """
    if not calibrations:
        raise InputError(
            "config key 'matrix.perturbation' names no label error, so there is none to draw; add "
            "one, or leave this figure out."
        )
    contents = [read_json(Path(path), ("kind", "structures")) for path in calibrations]
    for content in contents:
        if "code" in content:
            load_own(content["kind"], content["code"])
    rows, titles = [], []
    for index, chosen in typical_rows(data, "train", 2).items():
        shown = {"disc": (None, disc(data.shape[0]))}
        for row in chosen:
            images_NKHW, labels_NHW = data.read([row])
            reference_HW = (labels_NHW[0] == index).astype(np.uint8)
            shown[slice_name(data, row)] = data.grey(images_NKHW)[0], reference_HW
        for name, picture in shown.items():
            structure = data.class_names[index]
            rows.append([_panel(of, names, structure, name, *picture, seed) for of in contents])
            titles.append(row_title(data, index, name))
    return rows, titles


def disc(size: int) -> np.ndarray:
    """Return a disc in the middle of a square slice, the plainest object to perturb.

    Args:
        size: side of the slice, pixels; the radius is a quarter of it.

    Returns:
        (size, size) uint8 mask in {0, 1}.
    """
    offset = np.arange(size) - (size - 1) / 2
    return (offset[:, None] ** 2 + offset**2 <= (size / 4) ** 2).astype(np.uint8)


def _panel(calibration, names, structure, name, image_HW, reference_HW, seed):
    perturbation, kind = calibration["perturbation"], calibration["kind"]
    severity = calibration["structures"][structure]["severity"]
    rng = np.random.default_rng(derive(seed, "gallery", perturbation, name))
    perturbed_HW = perturb(reference_HW, kind, severity, rng, float(reference_HW.mean()))
    return Overlay(names[perturbation], image_HW, reference_HW, perturbed_HW)
