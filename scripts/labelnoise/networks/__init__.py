"""Segmentation networks by name: the 2018 code's, and those of segmentation-models-pytorch."""

import inspect

from labelnoise.errors import InputError
from labelnoise.networks.fcn import FCN8, FCN32
from labelnoise.networks.padding import PaddedNetwork
from labelnoise.networks.segnet import SegNet
from labelnoise.networks.unet import UNet

NETWORKS = {"fcn32": FCN32, "fcn8": FCN8, "segnet": SegNet, "unet": UNet}
SMP_SETTINGS = ["encoder", "weights", "settings"]


def make_network(spec, in_channels=1, classes=2):
    """Build the network that an entry of the config's `models:` describes.

    Args:
        spec: mapping with the key `network` and that network's settings, such as
            {"network": "unet", "width": 6, "depth": 5}; see UNet, SegNet, FCN32, FCN8 and
            `labelnoise.networks.smp.make_smp` for the settings and their defaults.
        in_channels: channels of an image.
        classes: classes of the labels, background included.

    Returns:
        A module that maps images (N, in_channels, H, W) to logits (N, classes, H, W) for any H and
        W of at least 1. Its initial weights depend on torch's global seed alone.

    Raises:
        InputError: a name or setting is unknown, or a value is out of range.
    """
    settings = dict(spec)
    name = settings.pop("network", None)
    if isinstance(name, str) and name.startswith("smp."):
        _check_names(name, settings, SMP_SETTINGS)
        # Imported only when asked for: it takes seconds.
        from labelnoise.networks.smp import make_smp

        return make_smp(name, in_channels, classes, **settings)
    if name not in NETWORKS:
        raise InputError(
            f"Unknown network {name!r}; choose one of {', '.join(NETWORKS)}, or an architecture "
            f"of segmentation_models_pytorch such as smp.Unet."
        )
    parameters = inspect.signature(NETWORKS[name]).parameters
    _check_names(name, settings, [p for p in parameters if p not in ("in_channels", "classes")])
    _check_values(name, settings)
    network = NETWORKS[name](in_channels, classes, **settings)
    return PaddedNetwork(network, network.stride)


def _check_names(name, settings, valid):
    for key in settings:
        if key not in valid:
            raise InputError(
                f"Unknown setting {key!r} for network {name!r}; choose among {', '.join(valid)}."
            )


def _check_values(name, settings):
    for key, value in settings.items():
        if key == "dropout":
            good, expected = (
                isinstance(value, int | float) and 0 <= value < 1,
                "at least 0, below 1",
            )
        else:
            good, expected = isinstance(value, int) and value >= 1, "a whole number of at least 1"
        if not good or isinstance(value, bool):
            raise InputError(f"Network {name!r} has {key}: {value!r}; it must be {expected}.")
