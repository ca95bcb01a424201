"""Count pixels first, then divide: the scores of true and false positives and negatives.

Counts end in an axis of 4: tp, fp, fn, tn, in pixels. Sum them over slices first for a pooled
score; average the scores afterwards for a mean over slices.
"""

import numpy as np
from numpy.typing import ArrayLike

COUNTS = ("tp", "fp", "fn", "tn")


def overlap(reference: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the counts of a mask against its reference.

    Args:
        reference, mask: arrays of one shape, foreground wherever they are not 0.

    Returns:
        int64 (4,).
    """
    reference, mask = reference.astype(bool), mask.astype(bool)
    tp = np.count_nonzero(reference & mask)
    fp, fn = np.count_nonzero(mask) - tp, np.count_nonzero(reference) - tp
    return np.array([tp, fp, fn, reference.size - tp - fp - fn])


def class_sizes(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return how many pixels of each class labels hold, int64 (classes,).

    Args:
        labels: class indices below `classes`, of any shape and integer type.
        classes: number of classes.
    """
    # For so few a comparison each is faster: bincount makes eight bytes of each label first.
    if classes <= 16:
        return np.array([np.count_nonzero(labels == index) for index in range(classes)])
    return np.bincount(labels.ravel(), minlength=classes)


def dice(counts: ArrayLike) -> np.ndarray:
    """Return 2 tp / (2 tp + fp + fn); NaN where the structure is absent from both masks.

    Args:
        counts: (..., 4).

    Returns:
        float64 (...), 0 to 1; a number for counts of shape (4,).
    """
    tp, fp, fn = _parts(counts)
    return _divide(2 * tp, 2 * tp + fp + fn)


def precision(counts: ArrayLike) -> np.ndarray:
    """Return tp / (tp + fp), shaped as in `dice`; NaN where nothing is predicted."""
    tp, fp, _ = _parts(counts)
    return _divide(tp, tp + fp)


def recall(counts: ArrayLike) -> np.ndarray:
    """Return tp / (tp + fn), shaped as in `dice`; NaN where the reference lacks the structure."""
    tp, _, fn = _parts(counts)
    return _divide(tp, tp + fn)


def volume_ratio(counts: ArrayLike) -> np.ndarray:
    """Return predicted over reference volume, (tp + fp) / (tp + fn), 0 or more, as in `dice`.

    NaN where the reference lacks the structure, whatever is predicted.
    """
    tp, fp, fn = _parts(counts)
    return _divide(tp + fp, tp + fn)


def _parts(counts):
    """Return tp, fp and fn of counts (..., 4)."""
    return np.moveaxis(np.asarray(counts), -1, 0)[:3]


def _divide(part, whole):
    """Divide in 64 bits, NaN where `whole` is 0 (`part` may then be above 0)."""
    quotient = np.full(np.shape(part), np.nan)
    return np.divide(part, whole, out=quotient, where=np.asarray(whole) > 0)[()]
