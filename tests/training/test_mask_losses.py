"""Losses of whole masks against their papers' formulas, in numpy, and what is learned."""

import numpy as np
import pytest
import torch
from scipy.special import gammaln, softmax
from scipy.stats import multivariate_t

from labelnoise.training.losses import make_loss

RNG = np.random.default_rng(6)
LOGITS_NCHW = RNG.normal(0, 2, (3, 3, 4, 5))
LABELS_NHW = RNG.integers(0, 3, (3, 4, 5))
P_NCHW = softmax(LOGITS_NCHW, axis=1)[:, 1:]
Y_NCHW = np.moveaxis(np.eye(3)[LABELS_NHW], -1, 1)[:, 1:]


def inputs():
    return torch.tensor(LOGITS_NCHW), torch.tensor(LABELS_NHW)


@pytest.mark.parametrize("gamma", [1.0, 1.5, 2.0])
def test_noise_robust_dice_is_a_power_of_the_error_over_the_squares(gamma):
    axes = (0, 2, 3)
    wrong_C = (np.abs(P_NCHW - Y_NCHW) ** gamma).sum(axis=axes)
    expected = (wrong_C / ((P_NCHW**2).sum(axis=axes) + Y_NCHW.sum(axis=axes) + 1e-5)).mean()
    found = make_loss("noise_robust_dice", gamma=gamma)(*inputs()).item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_noise_robust_dice_with_gamma_2_is_the_dice_loss_with_squares():
    """Milletari et al. 2016: 1 - 2 sum(p y) / (sum p^2 + sum y^2)."""
    axes = (0, 2, 3)
    total_C = (P_NCHW**2).sum(axis=axes) + (Y_NCHW**2).sum(axis=axes)
    expected = (1 - 2 * (P_NCHW * Y_NCHW).sum(axis=axes) / total_C).mean()
    found = make_loss("noise_robust_dice", gamma=2)(*inputs()).item()
    assert found == pytest.approx(expected, rel=1e-5)
    assert make_loss("noise_robust_dice")(*inputs()) == make_loss("noise_robust_dice", gamma=1.5)(
        *inputs()
    )


@pytest.mark.parametrize("log_nu", [1.0, -2.0, 3.0])
def test_the_t_loss_is_minus_the_log_density_of_a_students_t_of_the_errors(log_nu):
    errors_ND = (P_NCHW - Y_NCHW).reshape(3, -1)
    density = multivariate_t(np.zeros(40), np.eye(40), df=np.exp(log_nu) + 1e-8)
    found = make_loss("t_loss", log_nu=log_nu)(*inputs()).item()
    assert found == pytest.approx(-density.logpdf(errors_ND).mean(), rel=1e-6)


def test_the_t_loss_starts_at_the_degrees_of_freedom_of_the_authors():
    assert make_loss("t_loss")(*inputs()) == make_loss("t_loss", log_nu=1)(*inputs())


def test_one_parameter_of_the_t_loss_is_learned_and_of_other_losses_none():
    loss = make_loss("t_loss")
    (log_nu,) = loss.parameters()
    loss(*inputs()).backward()
    # By differences.
    ends = [make_loss("t_loss", log_nu=1 + step)(*inputs()).item() for step in (0.01, -0.01)]
    assert log_nu.grad.item() == pytest.approx((ends[0] - ends[1]) / 0.02, rel=1e-3)
    assert not [*make_loss("dice").parameters(), *make_loss("cross_entropy").parameters()]


def test_a_large_slice_keeps_its_digits():
    """The terms of 512 x 512 pixels are near a million, a tenth of a pixel's error is not lost."""
    labels = torch.zeros(1, 512, 512, dtype=torch.long)
    logits = torch.zeros(1, 2, 512, 512)
    logits[:, 0] = 4.0
    errors_D = softmax([0.0, 4.0])[0] * np.ones(512 * 512)
    nu = np.exp(1) + 1e-8
    expected = gammaln(nu / 2) - gammaln((nu + errors_D.size) / 2)
    expected += errors_D.size / 2 * np.log(np.pi * nu)
    expected += (nu + errors_D.size) / 2 * np.log1p((errors_D**2).sum() / nu)
    assert make_loss("t_loss")(logits, labels).item() == pytest.approx(expected, rel=2e-7)
