"""Labels of a run whose most suspicious training slices were looked at again.

Shape legend: N training slices, M slices with labels, H height, W width.
"""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

from labelnoise.config.rules import ORDERS
from labelnoise.data.storage import Dataset, LabelFile, write_labels
from labelnoise.errors import InputError
from labelnoise.labels.drawing import CalibratedError
from labelnoise.seeds import derive

# The most wrong pixels first, and any.
IDEAL, RANDOM = ORDERS
# Slices that are read at a time.
CHUNK = 64


def mend_labels(
    dataset: Path, labels: Path, suspects: Path, order: str, share: float, mended: Path
) -> None:
    """Write a run's labels, with the reference's for the first of its training slices.

    Validation slices are left as they are, and so is what the file says of the label error, by
    which labels of test slices are drawn.

    Args:
        dataset: the dataset file.
        labels: the run's label file.
        suspects: what detectors say of its slices, see `evaluation.suspects`.
        order: a detector whose most suspicious slices come first, IDEAL or RANDOM.
        share: of the training slices in `suspects` that are mended, rounded to whole ones.
        mended: the HDF5 file.

    Raises:
        InputError: a file cannot be used, `suspects` is of other slices or lacks the detector,
            or labels are drawn anew in each epoch.
    """
    data, wrong = Dataset(dataset), LabelFile(labels)
    if wrong.draws == "per_epoch":
        raise InputError(
            f"the labels of {wrong.perturbation} are drawn anew in each epoch, so none can be "
            "mended; give it a number of draws, or leave out `review.retrain`."
        )
    rows_N, suspicion_N = _suspicion(suspects, data, order)
    if order == RANDOM:
        suspicion_N = np.random.default_rng(derive(wrong.seed, "mending")).random(len(rows_N))
    first = np.argsort(-suspicion_N, kind="stable")[: round(share * len(rows_N))]
    looked_at = rows_N[first]
    rewrite_labels(mended, data, wrong, looked_at, data.read_labels)


def rewrite_labels(
    path: Path,
    data: Dataset,
    labels: LabelFile,
    rows: np.ndarray,
    read: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Write a label file as another one, in which the labels of some slices are others.

    Args:
        path: the HDF5 file.
        data: the dataset file.
        labels: the other file.
        rows: of the slices.
        read: returns the labels (n, H, W) of n of these rows, in every draw.
    """
    with write_labels(
        path,
        rows=labels.rows,
        shape=data.shape,
        classes=len(data.class_names),
        draws=labels.draws,
        dataset=labels.dataset,
        perturbation=labels.perturbation,
        **CalibratedError.of(labels).attributes(),
    ) as writer:
        for name, source in labels.given.items():
            writer.write_given(name, source)
        for draw in range(writer.draws):
            for start in range(0, len(labels.rows), CHUNK):
                rows_n = labels.rows[start : start + CHUNK]
                labels_nHW = labels.read(rows_n, draw)
                is_other_n = np.isin(rows_n, rows)
                labels_nHW[is_other_n] = read(rows_n[is_other_n])
                writer.write(draw, start, labels_nHW)


def _suspicion(path, data, order):
    """Return the rows of the training slices, and how soon each is looked at, both (N,)."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            found = [row for row in csv.DictReader(file) if row["split"] == "train"]
        names = [(row["case"], int(row["slice"])) for row in found]
        columns = {IDEAL: ("fp", "fn"), RANDOM: ()}.get(order, (order,))
        suspicion_N = np.array([sum(float(row[name]) for name in columns) for row in found])
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run the study's step that writes it.") from None
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is damaged, or lacks the column {error}; delete it, so that it is made again."
        ) from None
    row_of = {(str(data.case[row]), int(data.slice[row])): row for row in data.rows("train")}
    strange = [name for name in names if name not in row_of]
    if strange or len(set(names)) < len(names) or not names:
        raise InputError(
            f"{path} holds {len(names)} training slices, of which {len(strange)} are none of "
            f"{data.path}, expected each once; delete it, so that it is made again."
        )
    return np.array([row_of[name] for name in names]), suspicion_N
