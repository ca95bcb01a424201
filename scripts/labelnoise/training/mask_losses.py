"""Losses of whole masks, which are no mean over pixels: soft Dice and what replaces it.

Shapes: N slices, C classes, H height, W width.
"""

import math

import torch

from labelnoise.networks.output import one_hot

# Pixels, or degrees of freedom, that keep a quotient defined.
DICE_EPSILON, T_EPSILON = 1e-5, 1e-8


def soft_dice(
    logits_NCHW: torch.Tensor,
    labels_NHW: torch.Tensor,
    *,
    smooth: float = 1.0,
) -> torch.Tensor:
    """Return 1 - soft Dice, pooled over the batch and averaged over the foreground classes.

    With probabilities p and indicators y of a class, soft Dice is
    (2 sum(p y) + smooth) / (sum(p) + sum(y) + smooth) (Milletari et al. 2016, equation for D,
    without squares; `smooth`, in pixels, is ours and keeps a class that is absent defined).
    """
    chosen_NCHW = one_hot(labels_NHW, logits_NCHW.shape[1])[:, 1:]
    probabilities_NCHW = logits_NCHW.softmax(dim=1)[:, 1:]
    overlap_C = torch.where(chosen_NCHW, probabilities_NCHW, 0).sum(dim=(0, 2, 3))
    total_C = probabilities_NCHW.sum(dim=(0, 2, 3)) + chosen_NCHW.sum(dim=(0, 2, 3))
    return 1 - ((2 * overlap_C + smooth) / (total_C + smooth)).mean()


def noise_robust_dice(
    logits_NCHW: torch.Tensor, labels_NHW: torch.Tensor, *, gamma: float = 1.5
) -> torch.Tensor:
    """Return the noise-robust Dice loss, pooled over the batch, a mean over foreground classes.

    sum |p - y| ** gamma / (sum p^2 + sum y^2 + 1e-5) for probabilities p and indicators y of a
    class (Wang et al. 2020, "A Noise-Robust Framework for Automatic Segmentation of COVID-19
    Pneumonia Lesions from CT Images", section III).

    Args:
        logits_NCHW, labels_NHW: see `pixel_losses.cross_entropy`.
        gamma: from 1, a weighted absolute error, to 2, the Dice loss with squares.
    """
    probabilities_NCHW, chosen_NCHW = _foreground(logits_NCHW, labels_NHW)
    wrong_C = (probabilities_NCHW - chosen_NCHW).abs().pow(gamma).sum(dim=(0, 2, 3))
    total_C = (probabilities_NCHW**2 + chosen_NCHW).sum(dim=(0, 2, 3))
    return (wrong_C / (total_C + DICE_EPSILON)).mean()


class TLoss(torch.nn.Module):
    """The negative logarithm of a Student's t density of each slice's errors, averaged over slices.

    With d the differences between probabilities and indicators of all D pixels and foreground
    classes of a slice,

        log G(nu / 2) - log G((nu + D) / 2) + D / 2 log(pi nu) + (nu + D) / 2 log(1 + d'd / nu)

    where G is the gamma function (Gonzalez-Jimenez et al. 2023, "Robust T-Loss for Medical Image
    Segmentation", with the identity for its Sigma). The degrees of freedom nu are learned with the
    network's weights, as exp(log_nu) + 1e-8.
    """

    def __init__(self, log_nu: float = 1.0):
        """Start at exp(log_nu) degrees of freedom; 1 is where the authors' code starts."""
        super().__init__()
        self.log_nu = torch.nn.Parameter(torch.tensor(float(log_nu)))

    def forward(self, logits_NCHW: torch.Tensor, labels_NHW: torch.Tensor) -> torch.Tensor:
        """Return the loss; for the arguments see `pixel_losses.cross_entropy`."""
        probabilities_NCHW, chosen_NCHW = _foreground(logits_NCHW, labels_NHW)
        errors_ND = (probabilities_NCHW - chosen_NCHW).flatten(1)
        # Terms of some 10 D cancel each other: in 32 bits little would be left of slices of 512 px.
        squared_N, pixels = errors_ND.square().sum(dim=1).double(), errors_ND.shape[1]
        nu = self.log_nu.double().exp() + T_EPSILON
        constant = torch.lgamma(nu / 2) - torch.lgamma((nu + pixels) / 2)
        constant = constant + pixels / 2 * torch.log(math.pi * nu)
        return (constant + (nu + pixels) / 2 * torch.log1p(squared_N / nu)).mean().float()


def _foreground(logits_NCHW, labels_NHW):
    """Return probabilities and indicators of all classes but the background."""
    chosen_NCHW = one_hot(labels_NHW, logits_NCHW.shape[1])[:, 1:].to(logits_NCHW.dtype)
    return logits_NCHW.softmax(dim=1)[:, 1:], chosen_NCHW
