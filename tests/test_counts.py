"""Scores of counts that can be counted by hand, and against scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from labelnoise.counts import class_sizes, dice, overlap, precision, recall, volume_ratio

SCORES = [dice, precision, recall, volume_ratio]


def test_scores_of_two_squares():
    """A 4 x 4 reference and a 3 x 5 mask on 8 x 8; they share 2 rows of 3 pixels."""
    reference, mask = np.zeros((2, 8, 8), np.uint8)
    reference[0:4, 0:4] = 1
    mask[2:5, 1:6] = 1
    counts = overlap(reference, mask)
    assert counts.tolist() == [6, 9, 10, 39]
    assert dice(counts) == pytest.approx(12 / 31)
    assert precision(counts) == pytest.approx(6 / 15)
    assert recall(counts) == pytest.approx(6 / 16)
    assert volume_ratio(counts) == pytest.approx(15 / 16)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_scores_are_those_of_scikit_learn(seed):
    reference, mask = np.random.default_rng(seed).integers(0, 2, (2, 6, 6))
    counts, truth, guess = overlap(reference, mask), reference.ravel(), mask.ravel()
    tn, fp, fn, tp = metrics.confusion_matrix(truth, guess, labels=[0, 1]).ravel()
    assert counts.tolist() == [tp, fp, fn, tn]
    theirs = [metrics.f1_score, metrics.precision_score, metrics.recall_score]
    for ours, score in zip(SCORES, theirs, strict=False):
        assert ours(counts) == pytest.approx(score(truth, guess, zero_division=np.nan), nan_ok=True)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # tp, fp, fn, tn -> dice, precision, recall, volume ratio
        ([0, 0, 0, 9], [math.nan, math.nan, math.nan, math.nan]),
        ([0, 3, 0, 6], [0, 0, math.nan, math.nan]),
        ([0, 0, 3, 6], [0, math.nan, 0, 0]),
        ([9, 0, 0, 0], [1, 1, 1, 1]),
        ([1, 1, 0, 7], [2 / 3, 0.5, 1, 2]),
    ],
)
def test_scores_are_nan_where_undefined(counts, expected):
    with np.errstate(all="raise"):
        np.testing.assert_allclose([score(counts) for score in SCORES], expected)


@pytest.mark.parametrize("score", SCORES)
def test_scores_keep_the_leading_axes_and_are_exact_for_large_counts(score):
    many = np.random.default_rng(0).integers(1, 2**40, (5, 3, 4))
    found = score(many)
    assert found.shape == (5, 3)
    # Python's own division of whole numbers is exact to the last bit.
    tp, fp, fn, _ = many[4, 2].tolist()
    by_hand = {
        dice: 2 * tp / (2 * tp + fp + fn),
        precision: tp / (tp + fp),
        recall: tp / (tp + fn),
        volume_ratio: (tp + fp) / (tp + fn),
    }
    assert found[4, 2] == by_hand[score]


@pytest.mark.parametrize("classes", [2, 5, 40])
def test_pixels_of_every_class_are_counted(classes):
    labels = np.repeat(np.arange(4, dtype=np.uint8), [5, 0, 2, 1])[: 7 if classes > 2 else 5]
    expected = [5, 0, 2, *[0] * classes][:classes]
    assert class_sizes(labels.reshape(1, -1), classes).tolist() == expected
