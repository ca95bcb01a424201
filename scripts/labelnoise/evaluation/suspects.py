"""What detectors of label errors say of each slice of a run, beside how wrong its label is.

Shape legend: N slices, K channels, C classes, H height, W width.
"""

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.errors import InputError
from labelnoise.evaluation.detectors import BY_SLICE, USUAL, area, pooled_counts
from labelnoise.evaluation.score import within_memory
from labelnoise.files import read_json, write_rows
from labelnoise.jobs.devices import Device
from labelnoise.labels.drawing import CalibratedError, Drawer
from labelnoise.seeds import cases_seed
from labelnoise.study import Recipe, RunFolder
from labelnoise.training.checkpoints import TrainedNetwork, load_run
from labelnoise.training.run import training_rows
from labelnoise.training.trainers.predictions import Predictions

log = logging.getLogger(__name__)


def rank_suspects(
    dataset: Path,
    labels: Path,
    folder: RunFolder,
    device: Device,
    detectors: Sequence[str],
    seed: int,
) -> None:
    """Write what detectors say of a run's training slices, and of its test slices.

    The labels of training slices are those that the network was trained on, of several draws the
    first; those of test slices are as wrong, drawn with the same error. Of a recipe that takes some
    of the training cases the others are left out, of a trainer, which predicts none, all of them.
    The network is that of the chosen checkpoint. It has seen the training slices, and its choice
    may rest on the validation slices, which are left out.

    Args:
        dataset: the dataset file.
        labels: the run's label file.
        folder: the run's folder; `suspects` is written, one row per slice: case, slice, split, tp,
            fp and fn of its label against the reference, in pixels pooled over structures, and a
            column for each detector, the higher the more suspicious.
        device: where to compute.
        detectors: names in `detectors.DETECTORS`; without any those of USUAL.
        seed: the study's, by which a recipe takes some of the training cases.

    Raises:
        InputError: a file cannot be read, or there is no checkpoint.
    """
    detectors = detectors or USUAL
    device.limit_memory()
    data, error = Dataset(dataset), LabelFile(labels)
    network: TrainedNetwork | Predictions
    splits = {"test": data.rows("test")}
    if folder.predictions.exists():
        network = Predictions(folder.predictions)
    else:
        network = load_run(folder.path)
        network.network.to(device.kind)
        record = read_json(folder.record, ("definitions", "repeat"))
        number = Recipe(**record["definitions"]["recipe"]).training_cases
        cases = cases_seed(seed, data.name, record["repeat"])
        splits = {"train": training_rows(data, number, cases), **splits}
    table = []
    for split, rows_N in splits.items():
        rows_N, labels_NHW = _labels(data, error, rows_N, split)
        if not len(rows_N):
            continue
        found = within_memory(
            partial(_by_slice, network, data, rows_N, labels_NHW, detectors), device
        )
        if "area" in detectors:
            found["area"] = area(labels_NHW, len(data.class_names))
        counts_N4 = _counts(data, rows_N, labels_NHW)
        for place, row in enumerate(rows_N):
            names = {"case": data.case[row], "slice": int(data.slice[row]), "split": split}
            counts = dict(zip(("tp", "fp", "fn"), counts_N4[place].tolist(), strict=False))
            suspicion = {name: float(found[name][place]) for name in detectors}
            table.append({**names, **counts, **suspicion})
    if not table:
        raise InputError(f"{labels} has no labels of the dataset's training or test slices.")
    write_rows(folder.suspects, table)
    log.info("ranked %d slices by %s", len(table), ", ".join(detectors))


def _labels(data, error, rows_N, split):
    """Return those of the rows that have wrong labels, and these, (N, H, W)."""
    if split == "train":
        return rows_N, error.read(rows_N, 0)
    drawer = Drawer(data, CalibratedError.of(error))
    rows_N = rows_N[drawer.knows(rows_N)]
    return rows_N, drawer.labels(rows_N, 0)


def _by_slice(
    network: TrainedNetwork | Predictions,
    data: Dataset,
    rows_N: np.ndarray,
    labels_NHW: np.ndarray,
    detectors: Sequence[str],
    batch_size: int,
) -> dict[str, np.ndarray]:
    """Return the suspicion of each slice by the detectors of single slices, (N,) each."""
    functions = {name: BY_SLICE[name] for name in detectors if name in BY_SLICE}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in functions}
    for batch in _batches(len(rows_N), batch_size):
        images_NKHW = data.read_images(rows_N[batch]).astype(np.float32)
        probabilities_NCHW = network.predict_rows(rows_N[batch].tolist(), images_NKHW)
        for name, function in functions.items():
            parts[name].append(function(labels_NHW[batch], probabilities_NCHW))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _counts(data, rows_N, labels_NHW):
    """Return tp, fp, fn and tn of each slice's label against the reference, (N, 4)."""
    classes = np.arange(1, len(data.class_names))[:, None, None]
    parts = [
        pooled_counts(
            data.read_labels(rows_N[batch])[:, None] == classes,
            labels_NHW[batch][:, None] == classes,
        )
        for batch in _batches(len(rows_N), 64)
    ]
    return np.concatenate(parts)


def _batches(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))
