"""Count pixels first, then divide: counts of a slice and class, and the scores made of them.

Shapes: N slices, C classes, H height, W width; counts end in an axis of 4: tp, fp, fn, tn.
"""

import numpy as np
import torch

from labelnoise.errors import InputError

COUNTS = ("tp", "fp", "fn", "tn")


def predict(logits_NCHW):
    """Say where each class is predicted: softmax probability above 0.5, bool (N, C, H, W).

    For two classes this is the class of the higher logit, and a tie belongs to neither. With
    more classes a pixel in which none is above 0.5 belongs to none.
    """
    return logits_NCHW.float().softmax(dim=1) > 0.5


def counts(predicted, reference_NHW, classes):
    """Count true and false positives and negatives of every slice and class.

    Args:
        predicted: bool (N, C, H, W) as `predict` returns it, or class indices (N, H, W).
        reference_NHW: class indices, 0 to `classes` - 1.
        classes: number of classes, background included.

    Returns:
        int64 tensor (N, C, 4), tp, fp, fn, tn, in pixels, on the device of `predicted`.

    Raises:
        InputError: on the CPU, a reference label lies outside the classes.
        ValueError: the shapes do not fit.
    """
    predicted, reference_NHW = torch.as_tensor(predicted), torch.as_tensor(reference_NHW)
    predicted_NCHW = predicted if predicted.ndim == 4 else _one_hot(predicted, classes)
    reference_NCHW = _one_hot(reference_NHW, classes)
    if predicted_NCHW.dtype != torch.bool or predicted_NCHW.shape != reference_NCHW.shape:
        raise ValueError(
            f"predicted must be bool {tuple(reference_NCHW.shape)} or labels, "
            f"got {predicted.dtype} {tuple(predicted.shape)}"
        )
    pixels = reference_NHW.shape[-2] * reference_NHW.shape[-1]
    tp = (predicted_NCHW & reference_NCHW).sum(dim=(2, 3))
    fp = predicted_NCHW.sum(dim=(2, 3)) - tp
    fn = reference_NCHW.sum(dim=(2, 3)) - tp
    # One class a pixel: labels outside the classes leave pixels over. On a GPU the look would stop
    # it at every batch; dataset files are checked as they are read.
    if tp.device.type == "cpu" and bool(((tp + fn).sum(dim=1) != pixels).any()):
        raise InputError(
            f"Reference labels range from {reference_NHW.min().item()} to "
            f"{reference_NHW.max().item()}, but there are {classes} classes, 0 to {classes - 1}; "
            f"check the dataset's classes against the network's."
        )
    return torch.stack([tp, fp, fn, pixels - tp - fp - fn], dim=-1)


def dice(counts):
    """2 tp / (2 tp + fp + fn); NaN where the structure is absent from both masks.

    Args:
        counts: array or tensor (..., 4) of tp, fp, fn, tn. Sum over slices before, for a pooled
            score; average the scores after, for a mean over slices.

    Returns:
        float64 (...), 0 to 1, an array for an array and a tensor for a tensor.
    """
    tp, fp, fn = _parts(counts)
    return _divide(2 * tp, 2 * tp + fp + fn)


def precision(counts):
    """tp / (tp + fp), as `dice`; NaN where nothing is predicted."""
    tp, fp, _ = _parts(counts)
    return _divide(tp, tp + fp)


def recall(counts):
    """tp / (tp + fn), as `dice`; NaN where the structure is absent from the reference."""
    tp, _, fn = _parts(counts)
    return _divide(tp, tp + fn)


def volume_ratio(counts):
    """Predicted over reference volume, (tp + fp) / (tp + fn), 0 or more, as `dice`.

    NaN where the structure is absent from the reference, whatever is predicted.
    """
    tp, fp, fn = _parts(counts)
    return _divide(tp + fp, tp + fn)


def _parts(counts):
    """Split counts (..., 4) into tp, fp and fn."""
    counts = counts if isinstance(counts, torch.Tensor) else np.asarray(counts)
    return counts[..., 0], counts[..., 1], counts[..., 2]


def _divide(part, whole):
    """Divide in 64 bits, NaN where `whole` is 0 (`part` may then be above 0)."""
    if isinstance(part, torch.Tensor):
        return torch.where(whole > 0, part.double() / whole, torch.nan)
    empty = np.full(np.shape(part), np.nan)
    return np.divide(part, whole, out=empty, where=np.asarray(whole) > 0)


def _one_hot(labels_NHW, classes):
    """Where each class is labelled, bool (N, C, H, W)."""
    return labels_NHW[:, None] == torch.arange(classes, device=labels_NHW.device).view(-1, 1, 1)
