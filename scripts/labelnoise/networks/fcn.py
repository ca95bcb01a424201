"""Fully convolutional networks FCN-32s and FCN-8s (Long et al. 2015, sections 4.1 and 4.2).

Shapes: N slices, C classes, H height, W width.
"""

import torch
import torch.nn.functional as F
from torch import nn

from labelnoise.networks.layers import chain, conv_relu_norm, start_as_keras


class FCN32(nn.Module):
    """VGG16-shaped FCN-32s as the 2018 code builds it, widths `width` times 1, 2, 4, 8, 16.

    13 times (3x3 convolution, ReLU, batch norm) with five poolings, no pretraining; a 7x7 and a
    1x1 head of `head_width` maps with dropout; a 1x1 convolution to class scores; one 64x64
    transposed convolution of stride 32, without bias. Width 6 and head width 4096 have
    36 353 672 parameters (one channel, two classes): every weight and bias, batch norm's scale
    and shift, not its running statistics.
    """

    stride = 32

    def __init__(
        self, in_channels: int, classes: int, width: int, head_width: int, dropout: float
    ) -> None:
        super().__init__()
        a, b, c, d, e = (width * 2**level for level in range(5))
        trunk = [[in_channels, a, a], [a, b, b], [b, c, c, c], [c, d, d, d], [d, e, e, e]]
        self.trunk = nn.ModuleList(chain(conv_relu_norm, widths) for widths in trunk)
        self.head = nn.Sequential(
            nn.Conv2d(e, head_width, 7, padding=3),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(head_width, head_width, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(head_width, classes, 1),
        )
        self._make_upsampling(classes, skip_widths=(c, d))
        start_as_keras(self)
        nn.init.kaiming_normal_(self.head[-1].weight)

    def _make_upsampling(self, classes, skip_widths):
        self.enlarge_32 = _enlarge(classes, 32)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return logits (N, C, H, W); 32 must divide H and W."""
        features, pooled = images_NCHW, []
        for level in self.trunk:
            features = F.max_pool2d(level(features), 2)
            pooled.append(features)
        return self._upsample(self.head(features), pooled)

    def _upsample(self, scores, pooled):
        return self.enlarge_32(scores)


class FCN8(FCN32):
    """FCN-8s: FCN32's trunk and heads, with scores from the stride-16 and stride-8 maps added.

    The scores are enlarged twofold, joined by those of the fourth pooling, enlarged twofold,
    joined by those of the third, and enlarged eightfold (Long et al. 2015, section 4.2). The 2018
    code names this network but does not contain it; weights start as FCN32's do.
    """

    def _make_upsampling(self, classes, skip_widths):
        width_8, width_16 = skip_widths
        self.score_16 = nn.Conv2d(width_16, classes, 1)
        self.score_8 = nn.Conv2d(width_8, classes, 1)
        self.enlarge_2 = nn.ModuleList([_enlarge(classes, 2), _enlarge(classes, 2)])
        self.enlarge_8 = _enlarge(classes, 8)

    def _upsample(self, scores, pooled):
        scores = self.enlarge_2[0](scores) + self.score_16(pooled[3])
        scores = self.enlarge_2[1](scores) + self.score_8(pooled[2])
        return self.enlarge_8(scores)


def _enlarge(classes, factor):
    """Return a transposed convolution that enlarges a map of class scores by an even factor."""
    return nn.ConvTranspose2d(
        classes, classes, 2 * factor, stride=factor, padding=factor // 2, bias=False
    )
