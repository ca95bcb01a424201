"""Networks of the user's own: classes in a Python file beside the config."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from labelnoise.errors import InputError
from labelnoise.networks.padding import PaddedNetwork
from labelnoise.own_code import describe_failure, load_own, whose

# Side of the slices that are tried, in pixels; more where the stride asks for it.
SMALLEST = 16


def make_own(
    name: str, in_channels: int, classes: int, settings: Mapping[str, Any], code: str | None = None
) -> PaddedNetwork:
    """Build a network of the user's: `Class(in_channels, classes, **settings)`.

    Slices are padded to multiples of its attribute `stride`, where it has one.

    Args:
        name: the class, such as mynets.Small.
        in_channels: channels of an image.
        classes: classes of the labels, background included.
        settings: further keyword arguments.
        code: the digest that its file must have, see `load_own`.

    Raises:
        InputError: it cannot be loaded or built, or is no network.
    """
    kind = load_own(name, code)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise InputError(f"{whose(name)} is no class derived from torch.nn.Module; make it one.")
    try:
        network = kind(in_channels, classes, **settings)
    except Exception as error:
        raise InputError(describe_failure(name, error)) from error
    stride = getattr(network, "stride", 1)
    if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
        raise InputError(
            f"{whose(name)} has the stride {stride!r}; expected a whole number of at least 1, by "
            "how much it shrinks a slice."
        )
    return PaddedNetwork(network, stride)


def check_own(spec: Mapping[str, Any], in_channels: int = 1, classes: int = 3) -> None:
    """Build a network of the user's twice, and run it forwards and backwards on small slices.

    Args:
        spec: see `networks.make_network`.
        in_channels, classes: see `make_own`.

    Raises:
        InputError: see `make_own`; or it fails, does not return logits, cannot learn, or starts
            with weights that torch's seed does not determine.
    """
    name = spec["network"]
    settings = {key: value for key, value in spec.items() if key != "network"}
    first, again = (_seeded(name, in_channels, classes, settings) for _ in range(2))
    states = first.state_dict(), again.state_dict()
    if states[0].keys() != states[1].keys() or any(
        not torch.equal(states[0][key], states[1][key]) for key in states[0]
    ):
        raise InputError(
            f"{whose(name)} starts with other weights at an equal torch.manual_seed; draw them "
            "from torch's generator."
        )
    height = first.stride * max(2, -(-SMALLEST // first.stride))
    width = height + first.stride
    images_NCHW = torch.rand(2, in_channels, height, width)
    logits_NCHW = _run(name, first.network, images_NCHW)
    expected = (2, classes, height, width)
    if not isinstance(logits_NCHW, torch.Tensor) or logits_NCHW.shape != expected:
        found = type(logits_NCHW).__name__
        if isinstance(logits_NCHW, torch.Tensor):
            found = f"a tensor {tuple(logits_NCHW.shape)}"
        raise InputError(
            f"{whose(name)} returns {found} for images {tuple(images_NCHW.shape)}; expected logits "
            f"{expected}. Where it shrinks slices, its attribute `stride` says by how much."
        )
    if not logits_NCHW.is_floating_point() or not logits_NCHW.requires_grad:
        raise InputError(
            f"{whose(name)} returns {logits_NCHW.dtype} without a gradient, so that it cannot "
            "learn; return logits that depend on its parameters."
        )
    try:
        logits_NCHW.square().mean().backward()
    except Exception as error:
        raise InputError(describe_failure(name, error)) from error
    # One slice of another size, as in a test.
    with torch.no_grad():
        _run(name, first.eval(), torch.rand(1, in_channels, height + 1, width + 1))


def _seeded(name, in_channels, classes, settings):
    torch.manual_seed(0)
    return make_own(name, in_channels, classes, **settings)


def _run(name, network, images_NCHW):
    try:
        return network(images_NCHW)
    except InputError as error:
        raise InputError(f"{whose(name)}: {error}") from error
    except Exception as error:
        raise InputError(describe_failure(name, error)) from error
