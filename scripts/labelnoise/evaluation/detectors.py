"""Detectors of label errors: how suspicious the label of each slice is.

A detector gives a slice a number; the higher it is, the sooner the slice should be looked at again.
Most compare the label with what a network says of the slice, two are yardsticks: `entropy` sees no
label and `area` no network.

Shape legend: N slices, C classes, H height, W width.
"""

from collections.abc import Callable, Mapping

import numpy as np

from labelnoise.counts import dice

# What a probability of 0 in 32 bits may stand for.
LEAST = 1e-7


def loss(labels_NHW: np.ndarray, probabilities_NCHW: np.ndarray) -> np.ndarray:
    """Return the mean cross-entropy of each slice's pixels, in nats."""
    return -np.log(_of_labels(labels_NHW, probabilities_NCHW)).mean(axis=(1, 2))


def disagreement(labels_NHW: np.ndarray, probabilities_NCHW: np.ndarray) -> np.ndarray:
    """Return 1 - Dice of label and prediction, pooled over the structures of each slice.

    A pixel is predicted to be of a structure where its probability is over 0.5, as in scores. Where
    neither label nor prediction has a structure, nothing disagrees.
    """
    classes = np.arange(1, probabilities_NCHW.shape[1])[:, None, None]
    counts_N4 = pooled_counts(labels_NHW[:, None] == classes, probabilities_NCHW[:, 1:] > 0.5)
    return np.nan_to_num(1 - dice(counts_N4))


def entropy(labels_NHW: np.ndarray, probabilities_NCHW: np.ndarray) -> np.ndarray:
    """Return the mean entropy of each slice's pixels, in nats; the labels are not used."""
    known_NCHW = np.maximum(probabilities_NCHW, LEAST)
    return -(known_NCHW * np.log(known_NCHW)).sum(axis=1).mean(axis=(1, 2))


def cleanlab_softmin(labels_NHW: np.ndarray, probabilities_NCHW: np.ndarray) -> np.ndarray:
    """Return 1 - cleanlab's label quality score of each slice.

    That is a soft minimum over its pixels of the probability of their labels (Lad and Mueller,
    Estimating label quality and errors in semantic segmentation data via any model, 2023), with
    the library's own settings.
    """
    from cleanlab.segmentation.rank import get_label_quality_scores

    quality_N, _ = get_label_quality_scores(
        labels_NHW.astype(int), probabilities_NCHW, method="softmin", verbose=False
    )
    return 1 - quality_N


def area(labels_NHW: np.ndarray, classes: int) -> np.ndarray:
    """Return how unusual the labelled area of each slice is among all of them.

    That is the distance of its logarithm from the median, summed over structures; one pixel is
    added to each, so that empty slices have one.

    Args:
        labels_NHW: all slices that are reviewed together.
        classes: number of classes.
    """
    areas_NS = np.stack([(labels_NHW == index).sum(axis=(1, 2)) for index in range(1, classes)], 1)
    logs_NS = np.log1p(areas_NS)
    return np.abs(logs_NS - np.median(logs_NS, axis=0)).sum(axis=1)


# Those of a slice alone.
BY_SLICE: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cleanlab_softmin": cleanlab_softmin,
    "loss": loss,
    "disagreement": disagreement,
    "entropy": entropy,
}
DETECTORS = (*BY_SLICE, "area")
# Those of a review that names none.
USUAL = ("loss", "disagreement", "entropy", "area")


def pooled_counts(reference_NSHW: np.ndarray, mask_NSHW: np.ndarray) -> np.ndarray:
    """Return tp, fp, fn and tn of each slice, pooled over structures, int64 (N, 4).

    Args:
        reference_NSHW, mask_NSHW: bool, where each structure is.
    """
    tp, fp, fn, tn = (
        np.count_nonzero(found, axis=(1, 2, 3))
        for found in (
            reference_NSHW & mask_NSHW,
            ~reference_NSHW & mask_NSHW,
            reference_NSHW & ~mask_NSHW,
            ~reference_NSHW & ~mask_NSHW,
        )
    )
    return np.stack([tp, fp, fn, tn], axis=1)


def _of_labels(labels_NHW, probabilities_NCHW):
    """Return the probability of each pixel's label, (N, H, W), never 0."""
    found_N1HW = np.take_along_axis(probabilities_NCHW, labels_NHW[:, None].astype(int), axis=1)
    return np.maximum(found_N1HW[:, 0], LEAST)
