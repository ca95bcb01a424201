"""Slices of any size through networks that halve them: pad, run, crop.

Shapes: N slices, C classes, H height, W width.
"""

import torch
import torch.nn.functional as F
from torch import nn

from labelnoise.errors import InputError


class PaddedNetwork(nn.Module):
    """A network that takes slices of any size and returns logits of exactly that size.

    Slices are padded to a multiple of `stride`, and to at least `smallest` pixels per side, by
    repeating their edge pixels, half on each side. (Reflection needs a slice larger than its
    padding, and zeros would draw an edge into the image.) The logits are cropped back.

    Args:
        network: maps (N, channels, H, W) to (N, C, H, W) where `stride` divides H and W.
        stride: by how much the network shrinks a slice at its narrowest.
        smallest: smallest padded side, by default twice the stride: with a single slice in a batch,
            batch norm cannot be trained on a map of 1 x 1 pixels.
    """

    def __init__(self, network: nn.Module, stride: int, smallest: int | None = None) -> None:
        super().__init__()
        self.network = network
        self.stride = stride
        self.smallest = smallest or 2 * stride

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return logits (N, C, H, W) of images (N, channels, H, W).

        Raises:
            InputError: the network's settings make it return another size than it was given, or
                it is to be trained on a single slice and cannot.
        """
        height, width = images_NCHW.shape[-2:]
        top, bottom = self._margins(height)
        left, right = self._margins(width)
        padded_NCHW = F.pad(images_NCHW, (left, right, top, bottom), mode="replicate")
        logits_NCHW = self._run(padded_NCHW)
        if logits_NCHW.shape[-2:] != padded_NCHW.shape[-2:]:
            raise InputError(
                f"The network turns slices of {tuple(padded_NCHW.shape[-2:])} pixels into logits "
                f"of {tuple(logits_NCHW.shape[-2:])}; correct its settings (depth, upsampling)."
            )
        return logits_NCHW[..., top : top + height, left : left + width]

    def _run(self, padded_NCHW):
        try:
            return self.network(padded_NCHW)
        except ValueError as error:
            # Batch norm behind a pooling over the whole slice (DeepLabV3, PAN, UPerNet).
            if len(padded_NCHW) > 1 or "more than 1 value per channel" not in str(error):
                raise
            raise InputError(
                "This network normalises over the slices of a batch and cannot be trained on a "
                "single one; set a batch size of at least 2 that leaves no single slice over."
            ) from error

    def _margins(self, size):
        """Return the pixels to add before and after `size`."""
        missing = max(-(-size // self.stride) * self.stride, self.smallest) - size
        return missing // 2, missing - missing // 2
