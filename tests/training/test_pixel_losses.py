"""Losses of single pixels against their papers' formulas, in numpy, and their limits."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import convolve
from scipy.special import log_softmax, softmax

from labelnoise.training.losses import PIXEL_LOSSES, make_loss

RNG = np.random.default_rng(5)
LOGITS_NCHW = RNG.normal(0, 2, (3, 4, 9, 7))
LABELS_NHW = RNG.integers(0, 4, (3, 9, 7))
ONE_HOT_NCHW = np.moveaxis(np.eye(4)[LABELS_NHW], -1, 1)
P_NCHW, LOG_P_NCHW = softmax(LOGITS_NCHW, axis=1), log_softmax(LOGITS_NCHW, axis=1)
# The probability of the label.
P_NHW = (P_NCHW * ONE_HOT_NCHW).sum(axis=1)


def loss_of(name, **settings):
    logits, labels = torch.tensor(LOGITS_NCHW), torch.tensor(LABELS_NHW)
    return make_loss(name, **settings)(logits, labels).item()


def against(target_NCHW):
    """Cross-entropy against soft labels."""
    return -(target_NCHW * LOG_P_NCHW).sum(axis=1).mean()


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_label_smoothing_is_cross_entropy_against_labels_mixed_with_all_classes(smoothing):
    expected = against((1 - smoothing) * ONE_HOT_NCHW + smoothing / 4)
    assert loss_of("cross_entropy", smoothing=smoothing) == pytest.approx(expected, rel=1e-5)
    of_torch = F.cross_entropy(
        torch.tensor(LOGITS_NCHW), torch.tensor(LABELS_NHW), label_smoothing=smoothing
    )
    assert expected == pytest.approx(of_torch.item())


@pytest.mark.parametrize("q", [0.7, 0.2, 1.0])
def test_generalised_cross_entropy_is_the_box_cox_of_the_probability(q):
    expected = ((1 - P_NHW**q) / q).mean()
    assert loss_of("generalised_cross_entropy", q=q) == pytest.approx(expected, rel=1e-5)


def test_the_reverse_of_cross_entropy_takes_a_number_for_the_logarithm_of_0():
    log_labels_NCHW = np.where(ONE_HOT_NCHW == 1, 0.0, -6.0)
    reverse = -(P_NCHW * log_labels_NCHW).sum(axis=1).mean()
    expected = 0.3 * against(ONE_HOT_NCHW) + 2 * reverse
    found = loss_of("symmetric_cross_entropy", alpha=0.3, beta=2, log_zero=-6)
    assert found == pytest.approx(expected, rel=1e-5)


def test_bootstrapping_mixes_labels_with_predictions():
    soft = against(0.9 * ONE_HOT_NCHW + 0.1 * P_NCHW)
    assert loss_of("soft_bootstrapping", beta=0.9) == pytest.approx(soft, rel=1e-5)
    best_NCHW = P_NCHW.max(axis=1, keepdims=True) == P_NCHW
    hard = against(0.7 * ONE_HOT_NCHW + 0.3 * best_NCHW)
    assert loss_of("hard_bootstrapping", beta=0.7) == pytest.approx(hard, rel=1e-5)


def test_soft_bootstrapping_has_the_gradient_of_cross_entropy_and_a_penalty_on_the_entropy():
    """The gradient runs through the prediction in the mixture: of two classes, by hand.

    With x = log(p / (1 - p)), b CE + (1 - b) H has the slope b (p - 1) - (1 - b) x p (1 - p).
    """
    p, beta = 0.8, 0.6
    x = np.log(p / (1 - p))
    logits = torch.tensor([0.0, x], dtype=torch.float64).view(1, 2, 1, 1).requires_grad_()
    labels = torch.ones(1, 1, 1, dtype=torch.long)
    make_loss("soft_bootstrapping", beta=beta)(logits, labels).backward()
    expected = beta * (p - 1) - (1 - beta) * x * p * (1 - p)
    assert logits.grad[0, 1].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("sigma", [1.0, 0.6])
def test_spatially_varying_smoothing_is_half_the_label_and_half_its_neighbours(sigma):
    y, x = np.mgrid[-1:2, -1:2]
    kernel = np.exp(-(y**2 + x**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    # As in the authors' code: the centre weighs as much as its neighbours together.
    kernel[1, 1] = 1 - kernel[1, 1]
    kernel /= kernel.sum()
    target_NCHW = convolve(ONE_HOT_NCHW, kernel[None, None], mode="nearest")
    found = loss_of("spatially_varying_label_smoothing", sigma=sigma)
    assert found == pytest.approx(against(target_NCHW), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "settings", "factor"),
    [
        ("cross_entropy", {"smoothing": 0.0}, 1),
        ("generalised_cross_entropy", {"q": 1e-7}, 1),
        ("symmetric_cross_entropy", {"alpha": 2.0, "beta": 0}, 2),
        ("soft_bootstrapping", {"beta": 1}, 1),
        ("hard_bootstrapping", {"beta": 1.0}, 1),
    ],
)
def test_each_has_cross_entropy_as_its_limit(name, settings, factor):
    logits = torch.tensor(LOGITS_NCHW, dtype=torch.float32)
    slopes = []
    for each, given in ((name, settings), ("cross_entropy", {})):
        leaf = logits.clone().requires_grad_()
        value = make_loss(each, **given)(leaf, torch.tensor(LABELS_NHW))
        value.backward()
        slopes.append((value.item(), leaf.grad))
    assert slopes[0][0] == pytest.approx(factor * slopes[1][0], rel=1e-5)
    torch.testing.assert_close(slopes[0][1], factor * slopes[1][1])


def test_labels_that_agree_with_all_around_them_are_not_smoothed():
    logits, labels = torch.tensor(LOGITS_NCHW), torch.ones(3, 9, 7, dtype=torch.long)
    plain, varying = (
        make_loss(name)(logits, labels)
        for name in ("cross_entropy", "spatially_varying_label_smoothing")
    )
    torch.testing.assert_close(plain, varying)


def test_defaults_are_those_of_the_papers():
    told = {
        "cross_entropy": {"smoothing": 0},
        "generalised_cross_entropy": {"q": 0.7},
        "symmetric_cross_entropy": {"alpha": 0.1, "beta": 1, "log_zero": -4},
        "soft_bootstrapping": {"beta": 0.95},
        "hard_bootstrapping": {"beta": 0.8},
        "spatially_varying_label_smoothing": {"sigma": 1},
    }
    assert told.keys() == PIXEL_LOSSES.keys()
    for name, settings in told.items():
        assert loss_of(name) == loss_of(name, **settings)
