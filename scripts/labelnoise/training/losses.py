"""Losses by name: maps of logits and labels in, one number to minimise out.

Shapes: N slices, C classes, H height, W width.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from labelnoise.errors import InputError
from labelnoise.networks.output import one_hot


def make_loss(
    name: str, background_share: float | None = None, **settings: Any
) -> Callable[..., torch.Tensor]:
    """Build the loss that a recipe names.

    Args:
        name: `class_sampled_cross_entropy`, `cross_entropy`, `dice`, or `smp.<Name>` for a
            multi-class loss of segmentation_models_pytorch, such as `smp.FocalLoss`.
        background_share: share of background pixels that `class_sampled_cross_entropy` keeps, 0
            to 1; the 2018 code takes the dataset's foreground fraction. Other losses ignore it.
        settings: further settings of the loss: `smooth` for `dice`, the constructor's for smp.

    Returns:
        A function (logits_NCHW, labels_NHW, generator=None) -> scalar tensor. Labels are class
        indices of any integer type. The loss is computed in 32 bits whatever the logits are.

    Raises:
        InputError: a name or setting is unknown, or a value out of range; when the loss is
            called, labels of another size than the logits or, on the CPU, outside 0..C-1.
    """
    if name == "class_sampled_cross_entropy":
        _check_names(name, settings, [])
        share = _check_share(background_share)
        return _checked(partial(class_sampled_cross_entropy, background_share=share))
    if name == "cross_entropy":
        _check_names(name, settings, [])
        return _checked(lambda logits, labels, generator: _pixel_losses(logits, labels).mean())
    if name == "dice":
        _check_names(name, settings, ["smooth"])
        return _checked(partial(soft_dice, **_check_smooth(settings)))
    if name.startswith("smp."):
        loss = _make_smp_loss(name.removeprefix("smp."), settings)
        return _checked(lambda logits, labels, generator: _scalar(name, loss(logits, labels)))
    raise InputError(
        f"Unknown loss {name!r}; choose class_sampled_cross_entropy, cross_entropy, dice, or a "
        f"multi-class loss of segmentation_models_pytorch such as smp.FocalLoss."
    )


def class_sampled_cross_entropy(
    logits_NCHW: torch.Tensor,
    labels_NHW: torch.Tensor,
    generator: torch.Generator | None = None,
    *,
    background_share: float,
) -> torch.Tensor:
    """Return cross-entropy over all labelled foreground and a random share of the background.

    The mean is taken over the kept pixels, as in the 2018 code (which adds 0.01 to their number
    and 1e-10 to the probability); with no kept pixel it is 0, with a gradient of 0. Unlike there,
    where one mask is drawn when the graph is built, every call draws a new one. Keeping a share
    q of the background moves the decision from P(foreground) = 0.5 to q / (1 + q).

    Args:
        logits_NCHW: real numbers.
        labels_NHW: int64 class indices, 0 = background.
        generator: where the mask comes from, None for torch's global generator. It is drawn on
            the generator's device and moved: a CPU generator gives the same mask wherever the
            logits are, one on the GPU saves the transfer. What is drawn depends on the shape
            alone, so that runs which differ in their labels stay in step.
        background_share: the share q of background pixels, 0 to 1.
    """
    device = logits_NCHW.device if generator is None else generator.device
    drawn_NHW = torch.rand(labels_NHW.shape, generator=generator, device=device)
    sampled_NHW = (drawn_NHW < background_share).to(logits_NCHW.device)
    kept_NHW = (labels_NHW > 0) | sampled_NHW
    losses_NHW = torch.where(kept_NHW, _pixel_losses(logits_NCHW, labels_NHW), 0)
    return losses_NHW.sum() / kept_NHW.sum().clamp(min=1)


def soft_dice(
    logits_NCHW: torch.Tensor,
    labels_NHW: torch.Tensor,
    generator: torch.Generator | None = None,
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


def _pixel_losses(logits_NCHW, labels_NHW):
    """Return the cross-entropy of every pixel, (N, H, W).

    Not torch's own, which refuses to run on a GPU when deterministic algorithms are asked for.
    """
    log_NCHW = logits_NCHW.log_softmax(dim=1)
    return -torch.where(one_hot(labels_NHW, logits_NCHW.shape[1]), log_NCHW, 0).sum(dim=1)


def _checked(loss):
    """Wrap a loss so that it refuses labels which do not fit the logits."""

    def checked_loss(logits_NCHW, labels_NHW, generator=None):
        classes, size = logits_NCHW.shape[1], logits_NCHW.shape[:1] + logits_NCHW.shape[2:]
        if labels_NHW.shape != size:
            raise InputError(f"Labels of shape {tuple(labels_NHW.shape)} do not fit {tuple(size)}.")
        labels_NHW = labels_NHW.long()
        # On a GPU this would stall every step; dataset files are checked as they are read.
        on_cpu = labels_NHW.device.type == "cpu"
        if on_cpu and bool(((labels_NHW < 0) | (labels_NHW >= classes)).any()):
            low, high = labels_NHW.min().item(), labels_NHW.max().item()
            raise InputError(
                f"Labels range from {low} to {high}, but the network has {classes} classes, "
                f"0 to {classes - 1}; check the dataset's classes against the network's."
            )
        return loss(logits_NCHW.float(), labels_NHW, generator)

    return checked_loss


def _make_smp_loss(name, settings):
    # Imported only when asked for: it takes seconds.
    from segmentation_models_pytorch import losses

    parameters = {
        key: inspect.signature(value).parameters
        for key, value in vars(losses).items()
        if isinstance(value, type)
    }
    valid = [n for n in sorted(parameters) if "mode" in parameters[n]] + ["SoftCrossEntropyLoss"]
    if name not in valid:
        names = ", ".join(f"smp.{known}" for known in valid)
        raise InputError(f"Unknown loss 'smp.{name}'; choose one of {names}.")
    # Ours to set: labels are one class index per pixel, networks return logits.
    ours = {"mode", "from_logits", "dim"}
    _check_names(f"smp.{name}", settings, [n for n in parameters[name] if n not in ours])
    # Its default of None fails at the first call.
    defaults = {"smooth_factor": 0.0} if name == "SoftCrossEntropyLoss" else {"mode": "multiclass"}
    try:
        return getattr(losses, name)(**defaults | settings)
    except (TypeError, ValueError, AssertionError) as error:
        raise InputError(f"Loss 'smp.{name}' refuses its settings {settings}: {error}") from error


def _scalar(name, value):
    if value.ndim > 0:
        raise InputError(f"Loss {name!r} returns {tuple(value.shape)} values; set its reduction.")
    return value


def _check_names(name, settings, valid):
    for key in settings:
        if key not in valid:
            raise InputError(
                f"Unknown setting {key!r} for loss {name!r}; valid are: "
                f"{', '.join(['background_share'] if 'sampled' in name else valid) or 'none'}."
            )


def _check_share(share):
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise InputError(
            f"Loss 'class_sampled_cross_entropy' has background_share: {share!r}; "
            f"it must be a number from 0 to 1."
        )
    return share


def _check_smooth(settings):
    smooth = settings.get("smooth", 1.0)
    if isinstance(smooth, bool) or not isinstance(smooth, int | float) or smooth <= 0:
        raise InputError(f"Loss 'dice' has smooth: {smooth!r}; it must be a number above 0.")
    return settings
