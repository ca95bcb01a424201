"""What logits mean: predictions, counts that can be counted by hand, and log-odds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from labelnoise.errors import InputError
from labelnoise.networks.output import count_pixels, log_odds, one_hot, predict


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


def test_counts_of_two_squares():
    """A 4 x 4 reference and a 3 x 5 prediction on 8 x 8; they share 2 rows of 3 pixels."""
    reference, predicted = torch.zeros(1, 8, 8, dtype=torch.uint8), torch.zeros(1, 8, 8).long()
    reference[0, 0:4, 0:4] = 1
    predicted[0, 2:5, 1:6] = 1
    found = count_pixels(one_hot(predicted, 2), reference)
    assert found.dtype == torch.int64
    assert found.tolist() == [[[39, 10, 9, 6], [6, 9, 10, 39]]]


def test_a_pixel_predicted_as_nothing_is_missed_by_its_class_alone():
    reference = torch.tensor([[[0, 1, 2]]])
    nothing = torch.zeros(1, 3, 1, 3, dtype=torch.bool)
    assert count_pixels(nothing, reference).tolist() == [[[0, 0, 1, 2]] * 3]


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 4))
@settings(max_examples=25, deadline=None)
def test_counts_are_those_of_scikit_learn(seed, classes):
    rng = np.random.default_rng(seed)
    predicted, reference = torch.from_numpy(rng.integers(0, classes, (2, 3, 8, 8)))
    found = count_pixels(one_hot(predicted, classes), reference)
    for n, c in np.ndindex(3, classes):
        truth, guess = (reference[n] == c).ravel(), (predicted[n] == c).ravel()
        tn, fp, fn, tp = confusion_matrix(truth, guess, labels=[0, 1]).ravel()
        assert found[n, c].tolist() == [tp, fp, fn, tn]


def test_labels_outside_the_classes_are_refused():
    reference = torch.tensor([[[0, 1], [2, 0]]])
    with pytest.raises(InputError, match=r"from 0 to 2.*2 classes"):
        count_pixels(torch.zeros(1, 2, 2, 2, dtype=torch.bool), reference)


@pytest.mark.parametrize(
    "predicted", [torch.zeros(1, 2, 2, 3, dtype=torch.bool), torch.zeros(1, 2, 2, 2)]
)
def test_predictions_that_do_not_fit_are_refused(predicted):
    with pytest.raises(ValueError, match="predicted must be bool"):
        count_pixels(predicted, torch.zeros(1, 2, 2, dtype=torch.long))


@pytest.mark.parametrize("classes", [2, 4])
def test_log_odds_are_those_of_the_probability(classes):
    logits_NCHW = torch.randn((2, classes, 5, 6), generator=torch.Generator().manual_seed(0)) * 3
    probability_NHW = logits_NCHW.double().softmax(dim=1)[:, 1]
    found_NHW = log_odds(logits_NCHW, 1)
    torch.testing.assert_close(
        found_NHW, (probability_NHW / (1 - probability_NHW)).log().float(), atol=1e-4, rtol=1e-4
    )
    assert log_odds(logits_NCHW * 1e4, 1).isfinite().all()
