"""Label errors of a whole dataset: severities of its structures, perturbed labels, measurement.

Shape legend: N slices, H height, W width.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from labelnoise.data.storage import Dataset, write_labels
from labelnoise.errors import InputError
from labelnoise.files import read_json, sha256_of, write_record
from labelnoise.labels.calibration import assess, calibrate
from labelnoise.labels.error import LabelError, measure
from labelnoise.labels.perturbations import draw_labels
from labelnoise.own_code import is_own, load_own
from labelnoise.seeds import calibration_seed, label_seed
from labelnoise.study import Perturbation

log = logging.getLogger(__name__)

# Slices that are perturbed at a time, so that memory does not grow with the dataset.
CHUNK = 64


class Masks(Sequence):
    """One structure's masks of some slices of a dataset, read one at a time."""

    def __init__(self, data: Dataset, rows: np.ndarray, class_index: int):
        self.data, self.rows, self.class_index = data, rows, class_index

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position):
        """Return one slice's mask, (H, W), uint8 in {0, 1}."""
        labels_NHW = self.data.read_labels([self.rows[position]])
        return (labels_NHW[0] == self.class_index).astype(np.uint8)


def calibrate_dataset(
    dataset: Path, name: str, perturbation: Perturbation, seed: int, path: Path
) -> None:
    """Find the severity of a perturbation for each structure of a dataset; write it as JSON.

    The file holds, per structure, the severity and the error of the training labels that it makes:
    label Dice, precision, recall, volume ratio, mean surface distance in pixels, and the spread of
    label Dice over draws.

    Args:
        dataset: the dataset file.
        name, perturbation: the perturbation's name in the config, and its definition.
        seed: the study's seed.
        path: the JSON file.

    Raises:
        InputError: a target is out of the kind's reach; the message names dataset and structure.
    """
    kind, target = perturbation.kind, perturbation.target_dice
    if is_own(kind):
        load_own(kind, perturbation.code)
    with Dataset(dataset) as data:
        draw_seed = calibration_seed(seed, data.name, kind)
        structures = {}
        for index, structure in enumerate(data.class_names[1:], start=1):
            masks = Masks(data, data.rows("train"), index)
            fraction = data.foreground_fraction[index]
            try:
                if target is None:
                    severity = perturbation.severity or 0
                    found = assess(masks, kind, severity, fraction, draw_seed)
                else:
                    found = calibrate(masks, kind, target, fraction, draw_seed)
            except InputError as error:
                raise InputError(f"dataset {data.name}, {structure}: {error}") from error
            log.info("%s: severity %.4g, %s", structure, found.severity, found.error)
            structures[structure] = {
                "severity": found.severity,
                "target_dice": target,
                **asdict(found.error),
                "draws": found.draws,
                "label_dice_sd_between_draws": found.draw_sd,
            }
        about = {
            **_names(data, name, perturbation),
            "definition": perturbation.as_dict(),
            "seed": seed,
        }
        write_record(path, {**about, "structures": structures})


def perturb_dataset(
    dataset: Path,
    calibration: Path,
    perturbation: Perturbation,
    repeat: int,
    seed: int,
    labels: Path,
    measured: Path,
) -> None:
    """Write the perturbed labels of a repeat, and their error, measured on the training slices.

    Training and validation slices get labels. All stored draws are measured together; of fresh
    draws per epoch, the first one.

    Args:
        dataset: the dataset file.
        calibration: the JSON file that `calibrate_dataset` wrote, which also names the error.
        perturbation: its definition.
        repeat: index of the repeat.
        seed: the study's seed.
        labels: the HDF5 file.
        measured: the JSON file, written last.
    """
    calibrated = read_json(calibration, ("perturbation", "structures"))
    name, draws = calibrated["perturbation"], perturbation.draws
    with Dataset(dataset) as data:
        own_seed = label_seed(seed, data.name, name, repeat)
        error = calibrated_error(data, perturbation, calibrated["structures"], own_seed)
        train, validation = data.rows("train"), data.rows("validation")
        rows = np.concatenate([train, validation])
        about = {"draws": draws, "dataset": data.name, "perturbation": name, **error}
        with write_labels(labels, rows=rows, shape=data.shape, **about) as writer:
            for draw in range(writer.draws):
                for start, perturbed_NHW in perturbed_chunks(data, rows, draw, error):
                    writer.write(draw, start, perturbed_NHW)
        found = {
            structure: {
                "severity": error["severities"][index],
                "target_dice": perturbation.target_dice,
                **asdict(measure_structure(data, train, writer.draws, error, index)),
            }
            for index, structure in enumerate(data.class_names[1:], start=1)
        }
        about = {
            **_names(data, name, perturbation),
            "definition": perturbation.as_dict(),
            "seed": seed,
            "calibration": sha256_of(calibration),
            "repeat": repeat,
            "draws": draws,
        }
        write_record(measured, {**about, "structures": found})


def calibrated_error(
    data: Dataset,
    perturbation: Perturbation,
    structures: Mapping[str, Mapping[str, Any]],
    seed: int,
) -> dict[str, Any]:
    """Return a calibrated error as `draw_labels` takes it.

    Args:
        data: the dataset file.
        perturbation: its definition.
        structures: those of the JSON file that `calibrate_dataset` wrote.
        seed: the seed of the draws.

    Returns:
        kind, code, severities, foreground_fractions (of the training slices) and seed.
    """
    names = dict(enumerate(data.class_names[1:], start=1))
    return {
        "kind": perturbation.kind,
        "code": perturbation.code,
        "severities": {index: structures[name]["severity"] for index, name in names.items()},
        "foreground_fractions": {index: data.foreground_fraction[index] for index in names},
        "seed": seed,
    }


def perturbed_chunks(
    data: Dataset, rows: np.ndarray, draw: int, error: dict[str, Any]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (start, perturbed labels of rows[start : start + n]), a chunk at a time.

    Args:
        data: the dataset file.
        rows: its rows.
        draw: index of the draw.
        error: what `calibrated_error` returns.
    """
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        yield start, draw_labels(data.read_labels(chunk), draw=draw, rows=chunk, **error)


def measure_structure(
    data: Dataset, rows: np.ndarray, draws: int, error: dict[str, Any], index: int
) -> LabelError:
    """Measure the labels of one structure in some rows, all draws together."""
    reference = (mask_HW for _ in range(draws) for mask_HW in Masks(data, rows, index))
    perturbed = (
        labels_HW == index
        for draw in range(draws)
        for _, labels_NHW in perturbed_chunks(data, rows, draw, error)
        for labels_HW in labels_NHW
    )
    return measure(reference, perturbed)


def _names(data: Dataset, name: str, perturbation: Perturbation) -> dict[str, str]:
    names = {"dataset": data.name, "perturbation": name, "kind": perturbation.kind}
    return names if perturbation.code is None else {**names, "code": perturbation.code}
