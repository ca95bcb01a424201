"""Label errors of a whole dataset: severities of its structures, perturbed labels, measurement.

Shape legend: N slices, H height, W width.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from labelnoise.data.storage import Dataset, GivenLabels, LabelFile, write_labels
from labelnoise.errors import InputError
from labelnoise.files import read_json, sha256_of, write_record
from labelnoise.labels.calibration import calibrate_labels
from labelnoise.labels.drawing import CalibratedError, Drawer
from labelnoise.labels.error import ErrorSums
from labelnoise.seeds import calibration_seed, label_seed
from labelnoise.study import Perturbation

log = logging.getLogger(__name__)

# Slices that are perturbed at a time, so that memory does not grow with the dataset.
CHUNK = 64
NONE_GIVEN: Mapping[str, Path] = MappingProxyType({})


def calibrate_dataset(
    dataset: Path,
    name: str,
    perturbation: Perturbation,
    seed: int,
    path: Path,
    given: Mapping[str, Path] = NONE_GIVEN,
) -> None:
    """Find the severity of a perturbation for each structure of a dataset; write it as JSON.

    The file holds, per structure, the severity and how the training labels that it makes overlap
    with the reference: label Dice, precision, recall, volume ratio, and the spread of label Dice
    over draws.

    Args:
        dataset: the dataset file.
        name, perturbation: the perturbation's name in the config, and its definition.
        seed: the study's seed.
        path: the JSON file.
        given: the files of the given labels that the perturbation takes, by name.

    Raises:
        InputError: a target is out of the kind's reach; the message names dataset and structure.
    """
    with Dataset(dataset) as data:
        names = dict(enumerate(data.class_names[1:], start=1))
        try:
            error, found = calibrate_labels(
                data,
                data.rows("train"),
                names,
                perturbation,
                _fractions(data),
                partial(calibration_seed, seed, data.name),
                given=read_given(given),
            )
        except InputError as mistake:
            raise InputError(f"dataset {data.name}, {mistake}") from mistake
        structures = {}
        for index, calibration in found.items():
            log.info("%s: severity %.4g, %s", names[index], calibration.severity, calibration.error)
            structures[names[index]] = {
                "severity": calibration.severity,
                "target_dice": perturbation.target_dice,
                **asdict(calibration.error),
                "draws": calibration.draws,
                "label_dice_sd_between_draws": calibration.draw_sd,
                **_sizes_within(error, index),
            }
        about = {
            **_names(data, name, perturbation),
            "definition": perturbation.as_dict(),
            "seed": seed,
            **_digests(given),
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
    given: Mapping[str, Path] = NONE_GIVEN,
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
        given: the files of the given labels that the perturbation takes, by name. The HDF5 file
            holds them too, of all slices that have some: all that its labels can be drawn from.
    """
    calibrated = read_json(calibration, ("perturbation", "structures"))
    name, draws = calibrated["perturbation"], perturbation.draws
    with Dataset(dataset) as data:
        own_seed = label_seed(seed, data.name, name, repeat)
        sources = read_given(given)
        error = calibrated_error(data, perturbation, calibrated["structures"], own_seed, sources)
        drawer = Drawer(data, error)
        train, validation = data.rows("train"), data.rows("validation")
        rows = np.concatenate([train, validation])
        about = {"draws": draws, "dataset": data.name, "perturbation": name}
        with write_labels(
            labels,
            rows=rows,
            shape=data.shape,
            classes=len(data.class_names),
            **about,
            **error.attributes(),
        ) as writer:
            for each, source in sources.items():
                writer.write_given(each, source)
            sums = {index: ErrorSums() for index in range(1, len(data.class_names))}
            for draw in range(writer.draws):
                for start, *drawn in drawn_chunks(drawer, rows, draw):
                    writer.write(draw, start, drawn[1])
                    # Training slices come first.
                    pair = [labels_nHW[: max(len(train) - start, 0)] for labels_nHW in drawn]
                    for index, of_structure in sums.items():
                        of_structure.add(*(labels_nHW == index for labels_nHW in pair))
        found = {
            data.class_names[index]: {
                "severity": error.severities[index],
                "target_dice": perturbation.target_dice,
                **asdict(of_structure.error()),
            }
            for index, of_structure in sums.items()
        }
        about = {
            **_names(data, name, perturbation),
            "definition": perturbation.as_dict(),
            "seed": seed,
            "calibration": sha256_of(calibration),
            **_digests(given),
            "repeat": repeat,
            "draws": draws,
        }
        write_record(measured, {**about, "structures": found})


def calibrated_error(
    data: Dataset,
    perturbation: Perturbation,
    structures: Mapping[str, Mapping[str, Any]],
    seed: int,
    given: Mapping[str, GivenLabels] = MappingProxyType({}),
) -> CalibratedError:
    """Return a calibrated error, to be drawn from a dataset.

    Args:
        data: the dataset file.
        perturbation: its definition.
        structures: those of the JSON file that `calibrate_dataset` wrote.
        seed: the seed of the draws.
        given: see `calibration.calibrate_labels`.
    """
    names = dict(enumerate(data.class_names[1:], start=1))
    errors = {
        name: calibrated_error(
            data,
            part,
            {structure: each["errors"][name] for structure, each in structures.items()},
            seed,
            {name: given[name]} if name in given else {},
        )
        for name, part in perturbation.errors.items()
    }
    severities = {index: structures[name]["severity"] for index, name in names.items()}
    unsized = CalibratedError.unsized(perturbation, _fractions(data), seed, errors, given)
    return replace(unsized, severities=severities)


def read_given(given: Mapping[str, Path]) -> dict[str, GivenLabels]:
    """Open files of given labels.

    Raises:
        InputError: a file cannot be used.
    """
    return {name: GivenLabels.of(LabelFile(path)) for name, path in given.items()}


def drawn_chunks(
    drawer: Drawer, rows: np.ndarray, draw: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield (start, reference and drawn labels of rows[start : start + n]), a chunk at a time."""
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        reference_nHW = drawer.source.read_labels(chunk)
        yield start, reference_nHW, drawer.labels(chunk, draw, reference_nHW)


def _digests(given: Mapping[str, Path]) -> dict[str, Any]:
    """Return what a record holds of given labels, {} where there are none."""
    digests = {name: sha256_of(path) for name, path in given.items()}
    return {"given": digests} if digests else {}


def _fractions(data: Dataset) -> dict[int, float]:
    return {index: data.foreground_fraction[index] for index in range(1, len(data.class_names))}


def _sizes_within(error: CalibratedError, index: int) -> dict[str, Any]:
    """Return the severities of the errors that one is of, {} where it is of none."""
    sizes = {name: {"severity": each.severities[index]} for name, each in error.errors.items()}
    return {"errors": sizes} if sizes else {}


def _names(data: Dataset, name: str, perturbation: Perturbation) -> dict[str, str]:
    names = {"dataset": data.name, "perturbation": name, "kind": perturbation.kind}
    if (family := perturbation.family(name)) != perturbation.kind:
        names["family"] = family
    return names if perturbation.code is None else {**names, "code": perturbation.code}
