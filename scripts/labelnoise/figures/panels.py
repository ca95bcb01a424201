"""What the picture figures show: slices, wrong labels and predictions out of a study's files.

Shape legend: N slices, H height, W width.
"""

import json

import numpy as np

from labelnoise import style
from labelnoise.figures.gallery import disc
from labelnoise.perturbations import perturb
from labelnoise.seeds import derive

# Datasets with several structures are shown by their first.
STRUCTURE = 1


def typical_rows(data, split, number):
    """Choose slices of different cases that show much of the structure, the same at every call.

    Args:
        data: a storage.Dataset.
        split: the split to choose from.
        number: how many; fewer where the split has fewer cases.

    Returns:
        Rows of the dataset, one a case.
    """
    rows = data.rows(split)
    areas = np.array([np.count_nonzero(data.read_labels([row])[0] == STRUCTURE) for row in rows])
    largest = {}
    for row, area in zip(rows, areas, strict=True):
        largest[data.case[row]] = max(largest.get(data.case[row], (area, row)), (area, row))
    cases = sorted(largest)
    spaced = np.linspace(0, len(cases) - 1, min(number, len(cases))).round().astype(int)
    return [int(largest[cases[position]][1]) for position in spaced]


def perturbed_panels(data, calibrations, seed):
    """Perturb a disc and two slices of a dataset with every calibrated error.

    Args:
        data: a storage.Dataset.
        calibrations: paths of calibration files, in the order of the figure's columns.
        seed: the study's seed.

    Returns:
        (rows, row titles) for `gallery`.
    """
    shown = {"disc": (None, disc(data.shape[0]))}
    for row in typical_rows(data, "train", 2):
        images_NHW, labels_NHW = data.read([row])
        name = f"{data.case[row]}, slice {data.slice[row]}"
        shown[name] = (images_NHW[0], (labels_NHW[0] == STRUCTURE).astype(np.uint8))
    errors = [_read_calibration(path, data.class_names[STRUCTURE]) for path in calibrations]
    rows = [
        [_panel(error, name, *picture, seed) for error in errors] for name, picture in shown.items()
    ]
    return rows, list(shown)


def predicted_panels(data, networks, number=4):
    """Predict a few test slices with several trained networks.

    Args:
        data: a storage.Dataset.
        networks: {perturbation: checkpoints.TrainedNetwork}, the control first.
        number: how many slices.

    Returns:
        (rows, row titles) for `examples`.
    """
    chosen = typical_rows(data, "test", number)
    images_NHW, labels_NHW = data.read(chosen)
    predictions = {
        style.display_perturbation(name): network.predict_scaled(images_NHW)[:, STRUCTURE] > 0.5
        for name, network in networks.items()
    }
    rows = [
        (
            images_NHW[place],
            (labels_NHW[place] == STRUCTURE).astype(np.uint8),
            [(title, masks_NHW[place]) for title, masks_NHW in predictions.items()],
        )
        for place in range(len(chosen))
    ]
    return rows, [f"{data.case[row]}, slice {data.slice[row]}" for row in chosen]


def _read_calibration(path, structure):
    with open(path) as file:
        content = json.load(file)
    severity = content["structures"][structure]["severity"]
    return content["perturbation"], content["kind"], severity


def _panel(error, name, image_HW, reference_HW, seed):
    perturbation, kind, severity = error
    rng = np.random.default_rng(derive(seed, "gallery", perturbation, name))
    perturbed_HW = perturb(reference_HW, kind, severity, rng, float(reference_HW.mean()))
    return (style.display_perturbation(perturbation), image_HW, reference_HW, perturbed_HW)
