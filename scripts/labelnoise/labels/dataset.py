"""Label errors of a whole dataset: severities of its structures, perturbed labels, measurement.

Shape legend: N slices, H height, W width.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from labelnoise.data.storage import Dataset, write_labels
from labelnoise.errors import InputError
from labelnoise.files import whole_file
from labelnoise.labels.calibration import assess, calibrate
from labelnoise.labels.error import measure
from labelnoise.labels.perturbations import draw_labels
from labelnoise.seeds import calibration_seed, label_seed

log = logging.getLogger(__name__)

# Slices that are perturbed at a time, so that memory does not grow with the dataset.
CHUNK = 64


class Masks(Sequence):
    """One structure's masks of some slices of a dataset, read one at a time."""

    def __init__(self, data, rows, index):
        self.data, self.rows, self.index = data, rows, index

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, position):
        labels_NHW = self.data.read_labels(self.rows[position : position + 1])
        return (labels_NHW[0] == self.index).astype(np.uint8)


def calibrate_dataset(dataset, perturbation, definition, seed, path):
    """Find the severity of a perturbation for each structure of a dataset; write it as JSON.

    The file gives, for each structure, its severity and what it does to the training labels: label
    Dice, precision, recall, volume ratio, mean surface distance in pixels, and the spread of label
    Dice over draws.

    Args:
        dataset: path of the dataset file.
        perturbation: name of the perturbation.
        definition: its definition in the config.
        seed: the study's seed.
        path: the JSON file.

    Raises:
        InputError: a target is out of the kind's reach; the message names dataset and structure.
    """
    kind = definition["kind"]
    with Dataset(dataset) as data:
        draw_seed = calibration_seed(seed, data.name, kind)
        structures = {}
        for index, structure in enumerate(data.class_names[1:], start=1):
            masks = Masks(data, data.rows("train"), index)
            fraction = data.foreground_fraction[index]
            try:
                if "target_dice" in definition:
                    found = calibrate(masks, kind, definition["target_dice"], fraction, draw_seed)
                else:
                    severity = definition.get("severity", 0)
                    found = assess(masks, kind, severity, fraction, draw_seed)
            except InputError as error:
                raise InputError(f"dataset {data.name}, {structure}: {error}") from error
            log.info("%s: severity %.4g, %s", structure, found.severity, found.error)
            structures[structure] = {
                "severity": found.severity,
                "target_dice": definition.get("target_dice"),
                **asdict(found.error),
                "draws": found.draws,
                "label_dice_sd_between_draws": found.draw_sd,
            }
        write_json(path, {**_names(data, perturbation, kind), "structures": structures})


def perturb_dataset(dataset, calibration, perturbation, definition, repeat, seed, labels, measured):
    """Write the perturbed labels of a repeat, and what they are, measured on the training slices.

    Training and validation slices get labels. With more than one stored draw, the measurement is of
    all of them together; with fresh draws each epoch, of the first.

    Args:
        dataset: path of the dataset file.
        calibration: path of the JSON file that `calibrate_dataset` wrote.
        perturbation: name of the perturbation.
        definition: its definition in the config.
        repeat: index of the repeat.
        seed: the study's seed.
        labels: the HDF5 file.
        measured: the JSON file.
    """
    with open(calibration) as file:
        calibrated = json.load(file)["structures"]
    with Dataset(dataset) as data:
        severities = {
            index: calibrated[structure]["severity"]
            for index, structure in enumerate(data.class_names)
            if index > 0
        }
        recipe = {
            "kind": definition["kind"],
            "severities": severities,
            "foreground_fractions": {
                index: data.foreground_fraction[index] for index in severities
            },
            "seed": label_seed(seed, data.name, perturbation, repeat),
        }
        train, validation = data.rows("train"), data.rows("validation")
        rows = np.concatenate([train, validation])
        draws = definition["draws"]
        stored = 1 if draws == "per_epoch" else draws
        with write_labels(
            labels,
            rows=rows,
            shape=data.shape,
            draws=draws,
            dataset=data.name,
            perturbation=perturbation,
            **recipe,
        ) as writer:
            for draw in range(stored):
                for start, perturbed_NHW in perturbed_chunks(data, rows, draw, recipe):
                    writer.write(draw, start, perturbed_NHW)
        structures = {
            structure: {
                "severity": severities[index],
                "target_dice": definition.get("target_dice"),
                **asdict(measure_structure(data, train, stored, recipe, index)),
            }
            for index, structure in enumerate(data.class_names)
            if index > 0
        }
        names = _names(data, perturbation, definition["kind"])
        write_json(measured, {**names, "repeat": repeat, "draws": draws, "structures": structures})


def perturbed_chunks(data, rows, draw, recipe):
    """Yield (start, perturbed labels of rows[start : start + n]), a chunk at a time."""
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        yield start, draw_labels(data.read_labels(chunk), draw=draw, rows=chunk, **recipe)


def measure_structure(data, rows, draws, recipe, index):
    """Measure one structure's labels in some rows, all draws together; give the LabelError."""
    reference = (mask_HW for _ in range(draws) for mask_HW in Masks(data, rows, index))
    perturbed = (
        labels_HW == index
        for draw in range(draws)
        for _, labels_NHW in perturbed_chunks(data, rows, draw, recipe)
        for labels_HW in labels_NHW
    )
    return measure(reference, perturbed)


def write_json(path, content):
    """Write a mapping as indented JSON."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def _names(data, perturbation, kind):
    return {"dataset": data.name, "perturbation": perturbation, "kind": kind}
