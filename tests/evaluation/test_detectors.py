"""Detectors of label errors, against numbers counted by hand and other libraries."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from labelnoise.evaluation import detectors

LABELS_NHW = np.array([[[1, 0], [0, 0]]], np.uint8)
FOREGROUND_NHW = np.array([[[0.9, 0.2], [0.5, 0.6]]], np.float32)
PROBABILITIES_NCHW = np.stack([1 - FOREGROUND_NHW, FOREGROUND_NHW], axis=1)


def test_loss_is_the_mean_over_pixels_and_never_infinite():
    expected = -np.log([0.9, 0.8, 0.5, 0.4]).mean()
    assert detectors.loss(LABELS_NHW, PROBABILITIES_NCHW) == pytest.approx(expected)
    certain_NCHW = np.stack([LABELS_NHW, 1 - LABELS_NHW], axis=1).astype(np.float32)
    assert detectors.loss(LABELS_NHW, certain_NCHW) == pytest.approx(-np.log(detectors.LEAST))


def test_disagreement_is_dice_of_what_is_over_one_half():
    # Two pixels are predicted, one of them is labelled.
    assert detectors.disagreement(LABELS_NHW, PROBABILITIES_NCHW) == pytest.approx(1 / 3)
    nothing = np.zeros_like(LABELS_NHW), np.stack([LABELS_NHW + 1.0, LABELS_NHW * 0.0], axis=1)
    assert detectors.disagreement(*nothing) == 0


def test_disagreement_pools_the_structures_of_a_slice():
    labels_NHW = np.array([[[1, 1, 2, 0]]], np.uint8)
    # The first two pixels are right; the third is of the other structure, once fp and once fn.
    predicted_NHW = np.array([[[1, 1, 1, 0]]])
    probabilities_NCHW = np.moveaxis(np.eye(3)[predicted_NHW], -1, 1)
    expected = 1 - 2 * 2 / (2 * 2 + 1 + 1)
    assert detectors.disagreement(labels_NHW, probabilities_NCHW) == pytest.approx(expected)


def test_entropy_is_that_of_the_prediction_alone():
    expected = entropy(PROBABILITIES_NCHW, axis=1).mean()
    for labels_NHW in (LABELS_NHW, 1 - LABELS_NHW):
        found = detectors.entropy(labels_NHW, PROBABILITIES_NCHW)
        assert found == pytest.approx(expected, rel=1e-6)


def test_area_is_the_distance_from_the_usual_one():
    labels_NHW = np.zeros((3, 1, 8), np.uint8)
    for slice_, pixels in enumerate((1, 3, 7)):
        labels_NHW[slice_, 0, :pixels] = 1
    assert detectors.area(labels_NHW, 2) == pytest.approx([np.log(2), 0, np.log(2)])
    # A second structure that is alike everywhere adds nothing.
    labels_NHW[:, 0, 7] = 2
    assert detectors.area(labels_NHW, 3) == pytest.approx([np.log(2), 0, np.log(2)])


def test_cleanlab_scores_a_slice_by_the_soft_minimum_of_its_pixels():
    pytest.importorskip("cleanlab")
    qualities = np.array([0.9, 0.8, 0.5, 0.4])
    expected = 1 - (qualities * softmax((1 - qualities) / 0.1)).sum()
    found = detectors.cleanlab_softmin(LABELS_NHW, PROBABILITIES_NCHW)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["cleanlab_softmin", "loss", "disagreement"])
def test_what_sees_labels_and_network_finds_the_slice_whose_label_is_wrong(name):
    if name.startswith("cleanlab"):
        pytest.importorskip("cleanlab")
    rng = np.random.default_rng(0)
    truth_NHW = (np.indices((16, 16))[0] > 7).astype(np.uint8)[None].repeat(6, axis=0)
    noise_NHW = rng.uniform(0.02, 0.2, truth_NHW.shape)
    foreground_NHW = np.where(truth_NHW == 1, 1 - noise_NHW, noise_NHW)
    labels_NHW = truth_NHW.copy()
    labels_NHW[4] = np.roll(labels_NHW[4], 2, axis=0)
    probabilities_NCHW = np.stack([1 - foreground_NHW, foreground_NHW], axis=1)
    assert detectors.BY_SLICE[name](labels_NHW, probabilities_NCHW).argmax() == 4
