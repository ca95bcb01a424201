"""SegNet (Badrinarayanan et al. 2017, section 3) as the 2018 code builds it.

Shapes: N slices, C classes, H height, W width.
"""

import torch
import torch.nn.functional as F
from torch import nn

from labelnoise.networks.layers import chain, conv_norm_relu, start_as_keras


class SegNet(nn.Module):
    """VGG16-shaped SegNet: 13 convolutions down, 13 up, widths `width` times 1, 2, 4, 8, 8.

    Each is convolution, batch norm, ReLU; the last is 1x1 and gives the logits, after batch norm
    as in the 2018 code. Maps are enlarged by max-unpooling with the pooling indices. Width 6 has
    260 856 parameters (one channel, two classes): every weight and bias, batch norm's scale and
    shift, not its running statistics.
    """

    stride = 32

    def __init__(self, in_channels: int, classes: int, width: int) -> None:
        super().__init__()
        a, b, c, d = (width * factor for factor in (1, 2, 4, 8))
        down = [[in_channels, a, a], [a, b, b], [b, c, c, c], [c, d, d, d], [d, d, d, d]]
        up = [[d, d, d, d], [d, d, d, c], [c, c, c, b], [b, b, a], [a, a]]
        self.down = nn.ModuleList(chain(conv_norm_relu, widths) for widths in down)
        self.up = nn.ModuleList(chain(conv_norm_relu, widths) for widths in up)
        self.classify = nn.Sequential(nn.Conv2d(a, classes, 1), nn.BatchNorm2d(classes))
        start_as_keras(self)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return logits (N, C, H, W); 32 must divide H and W."""
        features, places = images_NCHW, []
        for level in self.down:
            features, indices = F.max_pool2d(level(features), 2, return_indices=True)
            places.append(_place_in_window(indices, 2 * features.shape[-1]))
        for level in self.up:
            features = level(max_unpool(features, places.pop()))
        return self.classify(features)


def _place_in_window(indices, width):
    """Turn flat pooling indices on a map of that (even) width into places 0..3 in 2x2 windows."""
    return (2 * (indices // width % 2) + indices % 2).to(torch.uint8)


def max_unpool(features_NCHW: torch.Tensor, place_NCHW: torch.Tensor) -> torch.Tensor:
    """Put each value at its place in a 2x2 window of zeros: (N, C, H, W) to (N, C, 2H, 2W).

    The same as `torch.nn.functional.max_unpool2d`, which refuses to run on a GPU when
    deterministic algorithms are asked for.
    """
    places = torch.arange(4, device=place_NCHW.device).view(4, 1, 1)
    chosen = place_NCHW.unsqueeze(2) == places
    spread = torch.where(chosen, features_NCHW.unsqueeze(2), 0)
    return F.pixel_shuffle(spread.flatten(1, 2), 2)
