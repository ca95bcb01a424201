"""What the picture figures show: slices, wrong labels and predictions out of a study's files.

Shape legend: N slices, H height, W width.
"""

import json

import numpy as np

from labelnoise.errors import InputError
from labelnoise.labels.perturbations import perturb
from labelnoise.report import style
from labelnoise.report.figures.perturbations import disc
from labelnoise.seeds import derive


def typical_rows(data, split, number):
    """Choose slices of different cases that show much of a structure, the same at every call.

    Args:
        data: a storage.Dataset.
        split: the split to choose from.
        number: how many, shared among the structures, but one of each at least; fewer where the
            split has fewer cases.

    Returns:
        {class index: rows of the dataset, one a case, which show that structure}.
    """
    rows, classes = data.rows(split), len(data.class_names)
    areas_NC = np.array(
        [np.bincount(data.read_labels([row])[0].ravel(), minlength=classes) for row in rows]
    )
    each = max(1, number // (classes - 1))
    return {
        index: _largest_of_cases(data, rows, areas_NC[:, index], each)
        for index in range(1, classes)
    }


def _largest_of_cases(data, rows, areas_N, number):
    """Of evenly spaced cases the slice with the largest area, where there is any."""
    largest = {}
    for row, area in zip(rows[areas_N > 0], areas_N[areas_N > 0], strict=True):
        largest[data.case[row]] = max(largest.get(data.case[row], (area, row)), (area, row))
    cases = sorted(largest)
    spaced = np.linspace(0, len(cases) - 1, min(number, len(cases))).round().astype(int)
    return [int(largest[cases[position]][1]) for position in spaced]


def perturbed_panels(data, calibrations, seed):
    """Perturb a disc and two slices of a dataset with every calibrated error.

    Several structures get rows of their own, a disc and one slice each.

    Args:
        data: a storage.Dataset.
        calibrations: paths of calibration files, in the order of the figure's columns.
        seed: the study's seed.

    Returns:
        (rows, row titles) for `gallery`.

    Raises:
        InputError: there is no error to show.
    """
    if not calibrations:
        raise InputError(
            "config key 'matrix.perturbation' names no label error, so there is none to draw; add "
            "one, or leave this figure out."
        )
    structures = data.class_names[1:]
    rows, titles = [], []
    for index, chosen in typical_rows(data, "train", 2).items():
        structure, shown = data.class_names[index], {"disc": (None, disc(data.shape[0]))}
        for row in chosen:
            images_NHW, labels_NHW = data.read([row])
            name = f"{data.case[row]}, slice {data.slice[row]}"
            shown[name] = (images_NHW[0], (labels_NHW[0] == index).astype(np.uint8))
        errors = [_read_calibration(path, structure) for path in calibrations]
        for name, picture in shown.items():
            rows.append([_panel(error, name, *picture, seed) for error in errors])
            titles.append(_title(name, structure, structures))
    return rows, titles


def predicted_panels(data, networks, number=4):
    """Predict a few test slices with several trained networks; every structure on its own rows.

    Args:
        data: a storage.Dataset.
        networks: {perturbation: checkpoints.TrainedNetwork}, the control first.
        number: how many slices, shared among the structures.

    Returns:
        (rows, row titles) for `examples`.
    """
    structures = data.class_names[1:]
    rows, titles = [], []
    for index, chosen in typical_rows(data, "test", number).items():
        if not chosen:
            continue
        images_NHW, labels_NHW = data.read(chosen)
        predictions = {
            style.display_perturbation(name): network.predict_scaled(images_NHW)[:, index] > 0.5
            for name, network in networks.items()
        }
        for place, row in enumerate(chosen):
            reference_HW = (labels_NHW[place] == index).astype(np.uint8)
            masks = [(title, masks_NHW[place]) for title, masks_NHW in predictions.items()]
            rows.append((images_NHW[place], reference_HW, masks))
            name = f"{data.case[row]}, slice {data.slice[row]}"
            titles.append(_title(name, data.class_names[index], structures))
    return rows, titles


def _title(name, structure, structures):
    """Name of a row, with the structure where there are several."""
    return name if len(structures) == 1 else f"{structure}: {name}"


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
