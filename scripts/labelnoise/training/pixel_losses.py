"""Losses of single pixels: cross-entropy, and what was made of it against wrong labels.

Each maps logits and labels to the loss of every pixel, of which a training takes the mean. With p_c
the softmax probability of class c and y the label of a pixel, cross-entropy is -log p_y.

Shapes: N slices, C classes, H height, W width.
"""

import torch
import torch.nn.functional as F

from labelnoise.networks.output import one_hot


def cross_entropy(
    logits_NCHW: torch.Tensor, labels_NHW: torch.Tensor, *, smoothing: float = 0.0
) -> torch.Tensor:
    """Return cross-entropy with smoothed labels: of share 1 - s the label, of share s all classes.

    (1 - s) (-log p_y) + s / C sum_c (-log p_c) (Szegedy et al. 2016, "Rethinking the Inception
    Architecture for Computer Vision", section 7, which has s = 0.1). Not torch's own, which refuses
    to run on a GPU when deterministic algorithms are asked for.

    Args:
        logits_NCHW: real numbers.
        labels_NHW: int64 class indices, 0 = background.
        smoothing: s, from 0, which is plain cross-entropy, to below 1.

    Returns:
        The loss of every pixel, (N, H, W).
    """
    log_NCHW = logits_NCHW.log_softmax(dim=1)
    plain_NHW = _of_label(log_NCHW, labels_NHW)
    if not smoothing:
        return plain_NHW
    return (1 - smoothing) * plain_NHW - smoothing * log_NCHW.mean(dim=1)


def generalised_cross_entropy(
    logits_NCHW: torch.Tensor, labels_NHW: torch.Tensor, *, q: float = 0.7
) -> torch.Tensor:
    """Return (1 - p_y ** q) / q, between cross-entropy and the absolute error.

    Zhang and Sabuncu 2018, "Generalized Cross Entropy Loss for Training Deep Neural Networks with
    Noisy Labels", the loss L_q, without its truncation.

    Args:
        logits_NCHW, labels_NHW: see `cross_entropy`.
        q: above 0, the limit of which is cross-entropy, to 1, which is 1 - p_y.
    """
    # expm1 keeps the digits where q or the loss is small.
    return -torch.expm1(-q * cross_entropy(logits_NCHW, labels_NHW)) / q


def symmetric_cross_entropy(
    logits_NCHW: torch.Tensor,
    labels_NHW: torch.Tensor,
    *,
    alpha: float = 0.1,
    beta: float = 1.0,
    log_zero: float = -4.0,
) -> torch.Tensor:
    """Return alpha times cross-entropy and beta times its reverse, -sum_c p_c log(y_c).

    y_c is 1 for the label and 0 else, with log(0) set to A, so that the reverse is -A (1 - p_y).
    Wang et al. 2019, "Symmetric Cross Entropy for Robust Learning with Noisy Labels"; alpha and
    beta are those of its CIFAR-10. The authors' code has log(0.0001) for A.

    Args:
        logits_NCHW, labels_NHW: see `cross_entropy`.
        alpha, beta: weights, 0 or more.
        log_zero: A, below 0.
    """
    plain_NHW = cross_entropy(logits_NCHW, labels_NHW)
    return alpha * plain_NHW + beta * log_zero * torch.expm1(-plain_NHW)


def soft_bootstrapping(
    logits_NCHW: torch.Tensor, labels_NHW: torch.Tensor, *, beta: float = 0.95
) -> torch.Tensor:
    """Return cross-entropy against labels mixed with the prediction.

    -sum_c (b y_c + (1 - b) p_c) log p_c (Reed et al. 2015, "Training Deep Neural Networks on Noisy
    Labels with Bootstrapping", "soft"). As there, the gradient runs through the prediction in the
    mixture too, which makes it a penalty on the entropy.

    Args:
        logits_NCHW, labels_NHW: see `cross_entropy`.
        beta: b, weight of the label, 0 to 1, which is cross-entropy.
    """
    log_NCHW = logits_NCHW.log_softmax(dim=1)
    entropy_NHW = -(log_NCHW.exp() * log_NCHW).sum(dim=1)
    return beta * _of_label(log_NCHW, labels_NHW) + (1 - beta) * entropy_NHW


def hard_bootstrapping(
    logits_NCHW: torch.Tensor, labels_NHW: torch.Tensor, *, beta: float = 0.8
) -> torch.Tensor:
    """Return cross-entropy against labels mixed with the class of the highest probability.

    b (-log p_y) + (1 - b) (-log max_c p_c) (Reed et al. 2015, "hard").

    Args:
        logits_NCHW, labels_NHW: see `cross_entropy`.
        beta: see `soft_bootstrapping`.
    """
    log_NCHW = logits_NCHW.log_softmax(dim=1)
    return beta * _of_label(log_NCHW, labels_NHW) - (1 - beta) * log_NCHW.amax(dim=1)


def spatially_varying_label_smoothing(
    logits_NCHW: torch.Tensor, labels_NHW: torch.Tensor, *, sigma: float = 1.0
) -> torch.Tensor:
    """Return cross-entropy against labels that are smoothed where those around them differ.

    Islam and Glocker 2021, "Spatially Varying Label Smoothing: Capturing Uncertainty from Expert
    Annotations", section 2.2, here in the plane: one half is the label, one half the mean of its 8
    neighbours, weighted by a Gaussian. Beyond the edge of a slice its outermost labels go on.

    Args:
        logits_NCHW, labels_NHW: see `cross_entropy`.
        sigma: standard deviation of the Gaussian in pixels, above 0.
    """
    height, width = labels_NHW.shape[1:]
    steps_3 = torch.tensor([-1.0, 0.0, 1.0])
    weights_33 = torch.exp(-(steps_3[:, None] ** 2 + steps_3**2) / (2 * sigma**2))
    weights_33[1, 1] = 0
    weights_33 /= 2 * weights_33.sum()
    weights_33[1, 1] = 0.5
    chosen_NCHW = one_hot(labels_NHW, logits_NCHW.shape[1]).to(logits_NCHW.dtype)
    padded_NCHW = F.pad(chosen_NCHW, (1, 1, 1, 1), mode="replicate")
    smoothed_NCHW = torch.zeros_like(chosen_NCHW)
    for row, weights_3 in enumerate(weights_33.tolist()):
        for column, weight in enumerate(weights_3):
            part_NCHW = padded_NCHW[:, :, row : row + height, column : column + width]
            smoothed_NCHW += weight * part_NCHW
    return -(smoothed_NCHW * logits_NCHW.log_softmax(dim=1)).sum(dim=1)


def _of_label(log_NCHW, labels_NHW):
    """Return minus the logarithm of each label's probability."""
    return -torch.where(one_hot(labels_NHW, log_NCHW.shape[1]), log_NCHW, 0).sum(dim=1)
