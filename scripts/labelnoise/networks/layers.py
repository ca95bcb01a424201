"""Convolution blocks and initial weights that the networks of the 2018 code share."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn


def conv_relu_norm(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return 3x3 convolution, ReLU, batch norm: the order of the 2018 code's U-Net and FCN."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(out_channels),
    )


def conv_norm_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return 3x3 convolution, batch norm, ReLU: the order of the 2018 code's SegNet."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def chain(block: Callable[[int, int], nn.Module], widths: Sequence[int]) -> nn.Sequential:
    """Put blocks in a row: `widths` are the channels before, between and after them."""
    return nn.Sequential(*(block(i, o) for i, o in pairwise(widths)))


def start_as_keras(network: nn.Module) -> None:
    """Draw every convolution's weights as Keras does by default: Glorot uniform, biases at 0.

    PyTorch's own default is narrower and starts biases off 0. Batch norm keeps PyTorch's momentum
    (0.1, where Keras' 0.99 is 0.01 here): running statistics that average over hundreds of steps
    would spoil the validation of a short run. Weights come from torch's global generator.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
