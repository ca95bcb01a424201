"""Training labels that are mended before the training, by confident learning.

Networks that are trained on the other folds of the training cases say how likely each class is at
each pixel, without having seen its label. Where that speaks against a label, cleanlab holds it to
be wrong: as many of a class as seem to be another's, the least likely first (Northcutt, Jiang,
Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels"; of segmentation Zhang
et al. 2020, "Characterizing Label Errors: Confident Learning for Noisy-Labeled Image
Segmentation"). Such a pixel takes the most likely class here.

Shape legend: N training slices, C classes, H height, W width.
"""

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from labelnoise import counts
from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.errors import InputError
from labelnoise.extras import require
from labelnoise.files import read_json, write_record
from labelnoise.labels.mending import rewrite_labels
from labelnoise.seeds import derive

log = logging.getLogger(__name__)

# Of a fold: (its number, rows to train on, rows to predict) -> probabilities (n, C, H, W), float32.
PredictFold = Callable[[int, np.ndarray, np.ndarray], np.ndarray]


def mend(
    data: Dataset,
    labels: LabelFile,
    rows: np.ndarray,
    folds: int,
    seed: int,
    folder: Path,
    identity: Mapping[str, str],
    predict_fold: PredictFold,
) -> tuple[LabelFile, dict[str, Any]]:
    """Return a file with mended training labels, and what was mended; make it if it is not there.

    The probabilities of all training slices are held in memory: 4 N C H W bytes.

    Args:
        data, labels: the dataset, and its perturbed labels, drawn once.
        rows: of the training slices, whose labels are mended.
        folds: parts of the training cases.
        seed: the training seed, from which the parts are drawn.
        folder: existing folder for the file.
        identity: of the training, see `state.make_identity`; labels of another one are made anew.
        predict_fold: trains on some rows and predicts others.

    Returns:
        The file, and a record: `changed`, the share of training pixels; `label_dice`, of the given
        and of the mended labels with the reference, by structure.

    Raises:
        InputError: there are fewer training cases than folds, labels are drawn more than once, or
            cleanlab is missing.
    """
    require("cleanlab", "relabelling")
    path, told = folder / "relabelled.h5", folder / "relabelled.json"
    known = _read(told, identity)
    if known is not None and path.exists():
        return LabelFile(path), known
    if labels.draws != 1:
        raise InputError(
            f"{labels.path} holds {labels.draws} draws, and recipe key 'relabelling' mends one; "
            "set draws: 1."
        )
    fold_N = deal(data.case[rows], folds, seed)
    given_NHW = labels.read(rows, 0)
    likely_NCHW = np.empty((len(rows), len(data.class_names), *data.shape), np.float32)
    for fold in range(folds):
        log.info("relabelling: fold %d of %d", fold + 1, folds)
        held_N = fold_N == fold
        likely_NCHW[held_N] = predict_fold(fold, rows[~held_N], rows[held_N])
    mended_NHW = relabelled(given_NHW, likely_NCHW)
    record = _compare(data, rows, given_NHW, mended_NHW)
    log.info("relabelling changed %.2f %% of the training pixels", 100 * record["changed"])
    place_of = {row: place for place, row in enumerate(rows.tolist())}
    rewrite_labels(
        path, data, labels, rows, lambda found: mended_NHW[[place_of[row] for row in found]]
    )
    write_record(told, {"identity": dict(identity), "record": record})
    for leftover in folder.glob("fold*"):
        shutil.rmtree(leftover, ignore_errors=True)
    return LabelFile(path), record


def deal(case_N: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each slice, (N,): cases are dealt out, so that none is in two folds.

    Args:
        case_N: the case of each slice.
        folds: how many.
        seed: the training seed.

    Raises:
        InputError: there are fewer cases than folds.
    """
    cases, place_N = np.unique(case_N, return_inverse=True)
    if len(cases) < folds:
        raise InputError(
            f"recipe key 'relabelling.folds' is {folds}, but there are {len(cases)} training "
            "cases; write a number up to that."
        )
    order = np.random.default_rng(derive(seed, "relabelling")).permutation(len(cases))
    return (order % folds)[place_N]


def relabelled(given_NHW: np.ndarray, likely_NCHW: np.ndarray) -> np.ndarray:
    """Return labels in which those that cleanlab holds to be wrong are the most likely class.

    Args:
        given_NHW: uint8 class indices.
        likely_NCHW: out-of-sample probabilities.
    """
    # Imported only when asked for: it takes seconds.
    from cleanlab.segmentation.filter import find_label_issues

    # One process, whose sums are in one order.
    issues_NHW = find_label_issues(given_NHW.astype(np.int64), likely_NCHW, n_jobs=1, verbose=False)
    return np.where(issues_NHW, likely_NCHW.argmax(axis=1), given_NHW).astype(np.uint8)


def _compare(data, rows, given_NHW, mended_NHW):
    reference_NHW = data.read_labels(rows)

    def label_dice(labels_NHW, index):
        return float(counts.dice(counts.overlap(reference_NHW == index, labels_NHW == index)))

    return {
        "changed": float((given_NHW != mended_NHW).mean()),
        "label_dice": {
            name: {"given": label_dice(given_NHW, index), "mended": label_dice(mended_NHW, index)}
            for index, name in enumerate(data.class_names[1:], start=1)
        },
    }


def _read(path, identity):
    """Return the record of labels that were mended for this training, or None."""
    try:
        content = read_json(path, ("identity", "record"))
    except InputError:
        return None
    return content["record"] if content["identity"] == identity else None
