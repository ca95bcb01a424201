"""U-Net (Ronneberger et al. 2015, section 2) as the 2018 code builds it.

Shapes: N slices, C classes, H height, W width.
"""

import torch
import torch.nn.functional as F
from torch import nn

from labelnoise.networks.layers import chain, conv_relu_norm, start_as_keras


class UNet(nn.Module):
    """U-Net of `depth` halvings with widths `width`, 2 `width`, ... 2**depth `width`.

    A level is twice (3x3 convolution, ReLU, batch norm). The way up is a 2x2 transposed
    convolution, whose weights start at 1, and batch norm; then the level of the way down is
    concatenated behind it. Width 6 and depth 5 have 1 096 898 parameters (one channel, two
    classes): every weight and bias, batch norm's scale and shift, not its running statistics.
    """

    def __init__(self, in_channels: int, classes: int, width: int, depth: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.stride = 2**depth
        self.down = nn.ModuleList(
            chain(conv_relu_norm, [before, after, after])
            for before, after in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.enlarge = nn.ModuleList(_enlarge(below, here) for below, here in pairs)
        self.up = nn.ModuleList(chain(conv_relu_norm, [2 * w, w, w]) for _, w in pairs)
        self.classify = nn.Conv2d(width, classes, 1)
        start_as_keras(self)
        for enlarge in self.enlarge:
            nn.init.ones_(enlarge[0].weight)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return logits (N, C, H, W); `stride` must divide H and W."""
        skips = []
        features = self.down[0](images_NCHW)
        for level in self.down[1:]:
            skips.append(features)
            features = level(F.max_pool2d(features, 2))
        for enlarge, level in zip(self.enlarge, self.up, strict=True):
            features = level(torch.cat([enlarge(features), skips.pop()], dim=1))
        return self.classify(features)


def _enlarge(in_channels, out_channels):
    return nn.Sequential(
        nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2), nn.BatchNorm2d(out_channels)
    )
