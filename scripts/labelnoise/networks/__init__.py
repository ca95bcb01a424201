"""Segmentation networks by name: the 2018 code's, segmentation-models-pytorch's, the user's own."""

from collections.abc import Mapping
from typing import Any

from labelnoise.networks.fcn import FCN8, FCN32
from labelnoise.networks.own import make_own
from labelnoise.networks.padding import PaddedNetwork
from labelnoise.networks.segnet import SegNet
from labelnoise.networks.unet import UNet
from labelnoise.own_code import is_own

NETWORKS = {"fcn32": FCN32, "fcn8": FCN8, "segnet": SegNet, "unet": UNet}


def make_network(spec: Mapping[str, Any], in_channels: int = 1, classes: int = 2) -> PaddedNetwork:
    """Build the network that an entry of the config's `models` describes.

    Args:
        spec: mapping with the key `network` and all settings of that network, such as
            {"network": "unet", "width": 6, "depth": 5}, as `labelnoise.config` completes it.
        in_channels: channels of an image.
        classes: classes of the labels, background included.

    Returns:
        A module that maps images (N, in_channels, H, W) to logits (N, classes, H, W) for any H and
        W of at least 1. Its initial weights depend on torch's global seed alone.

    Raises:
        InputError: segmentation-models-pytorch cannot build it, see `make_smp`, nor the user's own
            code, see `make_own`.
    """
    name = spec["network"]
    settings = {key: value for key, value in spec.items() if key != "network"}
    if name.startswith("smp."):
        # Imported only when asked for: it takes seconds.
        from labelnoise.networks.smp import make_smp

        return make_smp(name, in_channels, classes, **settings)
    if is_own(name):
        return make_own(name, in_channels, classes, **settings)
    network = NETWORKS[name](in_channels, classes, **settings)
    return PaddedNetwork(network, network.stride)
