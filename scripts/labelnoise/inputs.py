"""The files that a run is trained on, found or made without Snakemake."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labelnoise.data.prepare import prepare_dataset
from labelnoise.data.sources import open_source
from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.errors import InputError
from labelnoise.labels.dataset import calibrate_dataset, perturb_dataset
from labelnoise.seeds import label_seed

log = logging.getLogger(__name__)

DOWNLOADS = {
    "lis": "the training data of the LiTS challenge (volume-N.nii with segmentation-N.nii)",
    "psd": "NIH Pancreas-CT from The Cancer Imaging Archive (PANCREAS_0001/... of DICOM files, and "
    "label0001.nii.gz ...)",
}


@dataclass(frozen=True)
class Inputs:
    """Paths of a run's dataset file, label file, and measurement of the labels."""

    dataset: Path
    labels: Path
    measured: Path


def ready_inputs(roots, names, definitions, seed, workers=1):
    """Give the files of one run; make what is missing.

    A file is looked for under each root in turn. One that is missing is made there. One that was
    made from other settings, as far as it tells, is left as it is, and the next root is tried;
    under the last root it is replaced. Nothing is taken from a root before that of its own input.

    Args:
        roots: folders laid out like a study's results: the study's, then the run's own.
        names: dataset, perturbation and repeat.
        definitions: definitions of the dataset and the perturbation.
        seed: the study's seed.
        workers: threads that read cases.

    Returns:
        Inputs.

    Raises:
        InputError: the source data are missing or wrong, or an error is out of reach.
    """
    name, perturbation, repeat = names["dataset"], names["perturbation"], int(names["repeat"])
    settings, error = definitions["dataset"], definitions["perturbation"]

    def prepare(path):
        check_folder(name, settings)
        prepare_dataset(name, settings, seed=seed, path=path, workers=workers)

    roots, dataset = _ready(
        roots, f"datasets/{name}.h5", lambda path: dataset_is_current(path, name, settings), prepare
    )
    roots, calibration = _ready(
        roots,
        f"calibration/{name}/{perturbation}.json",
        lambda path: calibration_is_current(path, dataset, error),
        lambda path: calibrate_dataset(dataset, perturbation, error, seed=seed, path=path),
    )
    expected = label_seed(seed, name, perturbation, repeat)
    _, measured = _ready(
        roots,
        # Written after the labels, so where it is they are.
        f"labels/{name}/{perturbation}/rep{repeat}.json",
        lambda path: labels_are_current(path, dataset, calibration, error, expected),
        lambda path: perturb_dataset(
            *(dataset, calibration, perturbation, error, repeat, seed),
            labels=path.with_suffix(".h5"),
            measured=path,
        ),
    )
    return Inputs(dataset, measured.with_suffix(".h5"), measured)


def check_folder(name, settings):
    """Refuse a dataset whose folder of source data is not there, and say how to get it."""
    for key in ("folder", "labels_folder"):
        folder = settings.get(key)
        if folder is not None and not Path(folder).is_dir():
            what = f"download {DOWNLOADS[name]}" if name in DOWNLOADS else "get its data"
            raise InputError(
                f"dataset {name}: there is no folder {folder}; {what} and put or link it there, or "
                f"name another folder in the config: datasets.{name}.{key}."
            )


def dataset_is_current(path, name, settings):
    """Whether a dataset file is of these settings: source, classes, window and size."""
    source = open_source(settings["source"])
    made = json.dumps(source.describe(settings) | {"source": settings["source"]}, sort_keys=True)
    size = settings.get("size")
    with Dataset(path) as data:
        return (
            data.name == name
            and data.class_names == list(source.class_names(settings))
            and data.window == tuple(float(value) for value in settings["window"])
            and (not size or data.shape == (size, size))
            and json.dumps(data.provenance, sort_keys=True) == made
        )


def calibration_is_current(path, dataset, definition):
    """Whether a calibration is of this perturbation, and younger than its dataset."""
    found = json.loads(path.read_text())
    with Dataset(dataset) as data:
        structures = data.class_names[1:]
    return (
        path.stat().st_mtime >= dataset.stat().st_mtime
        and found["kind"] == definition["kind"]
        and list(found["structures"]) == structures
        and all(
            entry["target_dice"] == definition.get("target_dice")
            and entry["severity"] == definition.get("severity", entry["severity"])
            for entry in found["structures"].values()
        )
    )


def labels_are_current(path, dataset, calibration, definition, seed):
    """Whether the labels beside their measurement are what these inputs and this seed give."""
    calibrated = json.loads(calibration.read_text())["structures"]
    severities = {
        index: entry["severity"] for index, entry in enumerate(calibrated.values(), start=1)
    }
    with Dataset(dataset) as data, LabelFile(path.with_suffix(".h5")) as labels:
        fractions = {index: data.foreground_fraction[index] for index in severities}
        return (
            (labels.kind, labels.draws, labels.seed)
            == (definition["kind"], definition["draws"], seed)
            and (labels.severities, labels.foreground_fractions) == (severities, fractions)
            and np.array_equal(
                labels.rows, np.concatenate([data.rows("train"), data.rows("validation")])
            )
        )


def _ready(roots, tail, is_current, make):
    """Give the roots from that of the file on, and the file."""
    for number, root in enumerate(roots):
        path = Path(root, tail)
        if path.exists() and is_current(path):
            return roots[number:], path
        if path.exists() and root != roots[-1]:
            log.warning("%s is of other settings and stays as it is", path)
            continue
        log.info("making %s", path)
        make(path)
        return roots[number:], path
    raise ValueError("no roots")
