"""Counts that can be counted by hand, and scores against scikit-learn."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from labelnoise.errors import InputError
from labelnoise.evaluation.counts import counts, dice, precision, predict, recall, volume_ratio

SCORES = [dice, precision, recall, volume_ratio]


def squares():
    """A 4 x 4 reference and a 3 x 5 prediction on 8 x 8; they share 2 rows of 3 pixels."""
    reference, predicted = torch.zeros(1, 8, 8, dtype=torch.uint8), torch.zeros(1, 8, 8).long()
    reference[0, 0:4, 0:4] = 1
    predicted[0, 2:5, 1:6] = 1
    return predicted, reference


def test_counts_of_two_squares():
    predicted, reference = squares()
    found = counts(predicted, reference, classes=2)
    assert found.dtype == torch.int64
    assert found.tolist() == [[[39, 10, 9, 6], [6, 9, 10, 39]]]


def test_scores_of_two_squares():
    of_foreground = counts(*squares(), classes=2)[0, 1]
    assert dice(of_foreground).item() == pytest.approx(12 / 31)
    assert precision(of_foreground).item() == pytest.approx(6 / 15)
    assert recall(of_foreground).item() == pytest.approx(6 / 16)
    assert volume_ratio(of_foreground).item() == pytest.approx(15 / 16)


def test_labels_and_masks_count_alike():
    predicted, reference = squares()
    mask = torch.stack([predicted == 0, predicted == 1], dim=1)
    assert torch.equal(counts(mask, reference, 2), counts(predicted, reference, 2))
    assert torch.equal(
        counts(predicted.numpy(), reference.numpy(), 2), counts(predicted, reference, 2)
    )


def test_a_pixel_predicted_as_nothing_is_missed_by_its_class_alone():
    reference = torch.tensor([[[0, 1, 2]]])
    nothing = torch.zeros(1, 3, 1, 3, dtype=torch.bool)
    assert counts(nothing, reference, 3).tolist() == [[[0, 0, 1, 2]] * 3]


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 4))
@settings(max_examples=25, deadline=None)
def test_scores_are_those_of_scikit_learn(seed, classes):
    rng = np.random.default_rng(seed)
    predicted, reference = rng.integers(0, classes, (2, 3, 8, 8))
    found = counts(predicted, reference, classes)
    assert (found.sum(dim=-1) == 64).all()
    for n, c in np.ndindex(3, classes):
        truth, guess = (reference[n] == c).ravel(), (predicted[n] == c).ravel()
        tn, fp, fn, tp = sklearn_metrics.confusion_matrix(truth, guess, labels=[0, 1]).ravel()
        assert found[n, c].tolist() == [tp, fp, fn, tn]
    pooled = found.sum(dim=0).numpy()
    pairs = {
        dice: sklearn_metrics.f1_score,
        precision: sklearn_metrics.precision_score,
        recall: sklearn_metrics.recall_score,
    }
    for ours, theirs in pairs.items():
        expected = theirs(
            reference.ravel(),
            predicted.ravel(),
            labels=range(classes),
            average=None,
            zero_division=np.nan,
        )
        np.testing.assert_allclose(ours(pooled), expected)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        # tp, fp, fn, tn -> dice, precision, recall, volume ratio
        ([0, 0, 0, 9], [math.nan, math.nan, math.nan, math.nan]),
        ([0, 3, 0, 6], [0, 0, math.nan, math.nan]),
        ([0, 0, 3, 6], [0, math.nan, 0, 0]),
        ([9, 0, 0, 0], [1, 1, 1, 1]),
        ([1, 1, 0, 7], [2 / 3, 0.5, 1, 2]),
    ],
)
def test_scores_are_nan_where_undefined(count, expected):
    with np.errstate(all="raise"):
        np.testing.assert_allclose([score(np.array(count)) for score in SCORES], expected)
    np.testing.assert_allclose([score(torch.tensor(count)) for score in SCORES], expected)


@pytest.mark.parametrize("score", SCORES)
def test_scores_keep_the_leading_axes_and_are_exact_for_large_counts(score):
    many = np.random.default_rng(0).integers(0, 2**40, (5, 3, 4))
    assert score(many).shape == (5, 3)
    assert score(torch.from_numpy(many)).dtype == torch.float64
    np.testing.assert_array_equal(score(torch.from_numpy(many)).numpy(), score(many))


def test_prediction_is_a_probability_above_one_half():
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.1, 0.0]]).view(1, 2, 1, 3)
    assert predict(logits)[0, :, 0].tolist() == [[True, False, False], [False, True, False]]


def test_of_three_classes_a_pixel_can_belong_to_none():
    logits = torch.tensor([[0.0, 3.0], [0.2, 0.0], [0.1, 0.0]]).view(1, 3, 1, 2)
    assert predict(logits)[0, :, 0].tolist() == [[False, True], [False, False], [False, False]]


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_of_two_classes_the_prediction_is_the_higher_logit(seed):
    logits = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(predict(logits)[:, 1], logits.argmax(dim=1) == 1)


def test_labels_outside_the_classes_are_refused():
    reference = torch.tensor([[[0, 1], [2, 0]]])
    with pytest.raises(InputError, match=r"from 0 to 2.*2 classes"):
        counts(torch.zeros_like(reference), reference, classes=2)


@pytest.mark.parametrize(
    "predicted", [torch.zeros(1, 2, 2, 3, dtype=torch.bool), torch.zeros(1, 2, 2, 2)]
)
def test_predictions_that_do_not_fit_are_refused(predicted):
    with pytest.raises(ValueError, match="predicted must be bool"):
        counts(predicted, torch.zeros(1, 2, 2, dtype=torch.long), classes=2)
