"""Losses by name: maps of logits and labels in, one number to minimise out.

Shapes: N slices, C classes, H height, W width.
"""

import inspect
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, NamedTuple

import torch

from labelnoise.errors import InputError
from labelnoise.training import mask_losses, pixel_losses
from labelnoise.training.pixel_losses import cross_entropy
from labelnoise.training.selection import smallest

SAMPLED = "class_sampled_cross_entropy"


class Range(NamedTuple):
    """What a setting of a loss may be.

    Attributes:
        words: the same in words.
        low, high: the least and the largest number.
        open_low, open_high: whether the setting has to stay off them.
    """

    words: str
    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: object) -> bool:
        """Return whether a value is a number that lies within."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        above = self.low < value if self.open_low else self.low <= value
        return above and (value < self.high if self.open_high else value <= self.high)


SHARE = Range("a number from 0 to 1", 0, 1)
ABOVE_0 = Range("a number above 0", 0, inf, open_low=True)
FROM_0 = Range("a number of at least 0", 0, inf)
# Losses that are a mean over pixels, with their settings.
PIXEL_LOSSES: dict[str, tuple[Callable[..., torch.Tensor], dict[str, Range]]] = {
    "cross_entropy": (
        cross_entropy,
        {"smoothing": Range("a number from 0 to below 1", 0, 1, open_high=True)},
    ),
    "generalised_cross_entropy": (
        pixel_losses.generalised_cross_entropy,
        {"q": Range("a number above 0, at most 1", 0, 1, open_low=True)},
    ),
    "symmetric_cross_entropy": (
        pixel_losses.symmetric_cross_entropy,
        {
            "alpha": FROM_0,
            "beta": FROM_0,
            "log_zero": Range("a number below 0", -inf, 0, open_high=True),
        },
    ),
    "soft_bootstrapping": (pixel_losses.soft_bootstrapping, {"beta": SHARE}),
    "hard_bootstrapping": (pixel_losses.hard_bootstrapping, {"beta": SHARE}),
    "spatially_varying_label_smoothing": (
        pixel_losses.spatially_varying_label_smoothing,
        {"sigma": ABOVE_0},
    ),
}
# Losses of whole masks; of a class, its instances.
MASK_LOSSES: dict[str, tuple[Callable[..., Any], dict[str, Range]]] = {
    "dice": (mask_losses.soft_dice, {"smooth": ABOVE_0}),
    "noise_robust_dice": (
        mask_losses.noise_robust_dice,
        {"gamma": Range("a number from 1 to 2", 1, 2)},
    ),
    "t_loss": (mask_losses.TLoss, {"log_nu": Range("a number from -20 to 20", -20, 20)}),
}
NAMES = [SAMPLED, "cross_entropy", "dice"]
NAMES += [name for name in (*PIXEL_LOSSES, *MASK_LOSSES) if name not in NAMES]


class Loss(torch.nn.Module):
    """A loss that refuses labels which do not fit, and may leave out what is lost most.

    Its parameters are those that the loss itself learns; most have none.
    """

    def __init__(
        self, compute: Callable[..., torch.Tensor], by_pixel: bool = False, draws: bool = False
    ):
        """Wrap a function, or a module, whose parameters become those of the loss.

        Args:
            compute: of (logits_NCHW, labels_NHW): the loss, or that of every pixel, (N, H, W).
            by_pixel: whether it is the latter, of which the loss is the mean.
            draws: whether it takes a generator as well.
        """
        super().__init__()
        self.compute, self.by_pixel, self.draws = compute, by_pixel, draws

    def forward(
        self,
        logits_NCHW: torch.Tensor,
        labels_NHW: torch.Tensor,
        generator: torch.Generator | None = None,
        left_out: float = 0.0,
        of: str = "pixels",
    ) -> torch.Tensor:
        """Return the loss, a scalar, computed in 32 bits whatever the logits are.

        Args:
            logits_NCHW: real numbers.
            labels_NHW: class indices of any integer type.
            generator: see `class_sampled_cross_entropy`.
            left_out: share of the largest losses that does not count, 0 to below 1.
            of: whether it is of the "pixels" of the batch, where the loss is a mean over them, or
                of its "slices".

        Raises:
            InputError: labels of another size than the logits or, on the CPU, outside 0..C-1.
        """
        labels_NHW, logits_NCHW = _checked(labels_NHW, logits_NCHW), logits_NCHW.float()
        if not left_out:
            return self._whole(logits_NCHW, labels_NHW, generator)
        if of == "pixels":
            if not self.by_pixel:
                raise InputError(
                    "Of this loss no pixels can be left out, since it is no mean over them; set "
                    f"selection.of: slices, or choose the loss {', '.join(PIXEL_LOSSES)}."
                )
            losses_K = self.compute(logits_NCHW, labels_NHW).flatten()
            kept_K = smallest(losses_K, left_out)
            return torch.where(kept_K, losses_K, 0).sum() / kept_K.sum()
        with torch.no_grad():
            parts = zip(logits_NCHW.split(1), labels_NHW.split(1), strict=True)
            losses_N = torch.stack([self._whole(*part, generator) for part in parts])
        kept_N = smallest(losses_N, left_out)
        return self._whole(logits_NCHW[kept_N], labels_NHW[kept_N], generator)

    def _whole(self, logits_NCHW, labels_NHW, generator):
        drawn = (generator,) if self.draws else ()
        value = self.compute(logits_NCHW, labels_NHW, *drawn)
        return value.mean() if self.by_pixel else value


def make_loss(name: str, background_share: float | None = None, **settings: Any) -> Loss:
    """Build the loss that a recipe names.

    Args:
        name: `class_sampled_cross_entropy`, one of PIXEL_LOSSES or MASK_LOSSES, or `smp.<Name>` for
            a multi-class loss of segmentation_models_pytorch, such as `smp.FocalLoss`.
        background_share: share of background pixels that `class_sampled_cross_entropy` keeps, 0
            to 1; the 2018 code takes the dataset's foreground fraction. Other losses ignore it.
        settings: further settings of the loss: those of its function, the constructor's for smp.

    Raises:
        InputError: a name or setting is unknown, or a value out of range.
    """
    if name == SAMPLED:
        _check_names(name, settings, [])
        _check(name, "background_share", background_share, SHARE)
        kept: Any = background_share
        compute = partial(class_sampled_cross_entropy, background_share=kept)
        return Loss(compute, draws=True)
    if name.startswith("smp."):
        loss = _make_smp_loss(name.removeprefix("smp."), settings)
        return Loss(lambda logits, labels: _scalar(name, loss(logits, labels)))
    if name not in NAMES:
        raise InputError(
            f"Unknown loss {name!r}; choose {', '.join(NAMES)}, or a multi-class loss of "
            "segmentation_models_pytorch such as smp.FocalLoss."
        )
    by_pixel = name in PIXEL_LOSSES
    made, ranges = (PIXEL_LOSSES if by_pixel else MASK_LOSSES)[name]
    _check_names(name, settings, list(ranges))
    for key, value in settings.items():
        _check(name, key, value, ranges[key])
    compute = made(**settings) if isinstance(made, type) else partial(made, **settings)
    return Loss(compute, by_pixel)


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
    losses_NHW = torch.where(kept_NHW, cross_entropy(logits_NCHW, labels_NHW), 0)
    return losses_NHW.sum() / kept_NHW.sum().clamp(min=1)


def _checked(labels_NHW, logits_NCHW):
    """Return labels as int64; refuse those that do not fit the logits."""
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
    return labels_NHW


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


def _check(name, key, value, allowed):
    if not allowed.holds(value):
        raise InputError(f"Loss {name!r} has {key}: {value!r}; it must be {allowed.words}.")
