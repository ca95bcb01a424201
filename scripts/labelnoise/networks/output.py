"""What the logits of a network mean: predicted classes, their pixel counts, and scores.

Shape legend: N slices, C classes, H height, W width.
"""

import torch

from labelnoise.errors import InputError


def one_hot(labels_NHW: torch.Tensor, classes: int) -> torch.Tensor:
    """Return where each class is labelled, bool (N, C, H, W)."""
    return labels_NHW[:, None] == torch.arange(classes, device=labels_NHW.device).view(-1, 1, 1)


def predict(logits_NCHW: torch.Tensor) -> torch.Tensor:
    """Return where each class is predicted: softmax probability above 0.5, bool (N, C, H, W).

    For two classes this is the class of the higher logit, and a tie belongs to neither. With
    more classes a pixel in which none is above 0.5 belongs to none.
    """
    return logits_NCHW.float().softmax(dim=1) > 0.5


def count_pixels(predicted_NCHW: torch.Tensor, reference_NHW: torch.Tensor) -> torch.Tensor:
    """Count true and false positives and negatives of every slice and class.

    Args:
        predicted_NCHW: bool, as `predict` returns it.
        reference_NHW: class indices, 0 to C - 1, of any integer type.

    Returns:
        int64 (N, C, 4): tp, fp, fn, tn, in pixels, on the device of `predicted_NCHW`.

    Raises:
        InputError: on the CPU, a reference label lies outside the classes.
        ValueError: the shapes do not fit, or the prediction is not bool.
    """
    classes, pixels = predicted_NCHW.shape[1], reference_NHW[0].numel()
    reference_NCHW = one_hot(reference_NHW, classes)
    if predicted_NCHW.dtype != torch.bool or predicted_NCHW.shape != reference_NCHW.shape:
        raise ValueError(
            f"predicted must be bool {tuple(reference_NCHW.shape)}, "
            f"got {predicted_NCHW.dtype} {tuple(predicted_NCHW.shape)}"
        )
    tp = (predicted_NCHW & reference_NCHW).sum(dim=(2, 3))
    fp = predicted_NCHW.sum(dim=(2, 3)) - tp
    fn = reference_NCHW.sum(dim=(2, 3)) - tp
    # One class per pixel: labels outside the classes leave pixels over. On a GPU this look would
    # stop it at every batch; dataset files are checked as they are read.
    if tp.device.type == "cpu" and bool(((tp + fn).sum(dim=1) != pixels).any()):
        raise InputError(
            f"Reference labels range from {reference_NHW.min().item()} to "
            f"{reference_NHW.max().item()}, but there are {classes} classes, 0 to {classes - 1}; "
            f"check the dataset's classes against the network's."
        )
    return torch.stack([tp, fp, fn, pixels - tp - fp - fn], dim=-1)


def log_odds(logits_NCHW: torch.Tensor, index: int) -> torch.Tensor:
    """Return the log-odds of class `index` against all others, float32 (N, H, W).

    That is its logit minus the logsumexp of the others; unlike log(p / (1 - p)) of a softmax it
    does not saturate.
    """
    logits_NCHW = logits_NCHW.float()
    others_NCHW = torch.cat([logits_NCHW[:, :index], logits_NCHW[:, index + 1 :]], dim=1)
    return logits_NCHW[:, index] - others_NCHW.logsumexp(dim=1)
