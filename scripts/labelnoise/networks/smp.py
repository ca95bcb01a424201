"""Any architecture and encoder of segmentation-models-pytorch (smp), built by name."""

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

import segmentation_models_pytorch as smp
import timm

from labelnoise.errors import InputError
from labelnoise.networks.padding import PaddedNetwork

ARCHITECTURES: dict[str, Any] = {
    name: value
    for name, value in vars(smp).items()
    if isinstance(value, type) and issubclass(value, smp.base.SegmentationModel)
}
# Set by make_smp itself; `activation` and `aux_params` would change what comes out.
FIXED = {"encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params"}


def make_smp(
    network: str,
    in_channels: int,
    classes: int,
    encoder: str,
    weights: str | None,
    settings: Mapping[str, Any],
) -> PaddedNetwork:
    """Build the network "smp.<architecture>", wrapped so that it takes slices of any size.

    Args:
        network: such as "smp.Unet".
        in_channels: channels of an image.
        classes: classes of the labels, background included.
        encoder: an encoder of smp, such as "resnet18", or "tu-" and a model of timm.
        weights: None starts from scratch, else the name of pretrained encoder weights, such as
            "imagenet" (for a "tu-" encoder the name does not matter), which are downloaded.
        settings: further keyword arguments of the architecture.

    Raises:
        InputError: a name, weight or setting is unknown, or the weights cannot be downloaded.
    """
    name = network.removeprefix("smp.")
    settings = dict(settings)
    if name not in ARCHITECTURES:
        valid = ", ".join(f"smp.{known}" for known in sorted(ARCHITECTURES))
        raise InputError(f"Unknown network {network!r}; choose one of {valid}.")
    parameters = inspect.signature(ARCHITECTURES[name].__init__).parameters
    _check_encoder(network, encoder, weights)
    _check_settings(network, encoder, settings, parameters)
    if name == "DPT":  # without it, it takes slices of one size only
        settings.setdefault("dynamic_img_size", True)
    built = _build(network, in_channels, classes, encoder, weights, settings)
    stride = built.encoder.output_stride
    if name == "DPT":  # its decoder halves the narrowest map once more
        return PaddedNetwork(built, 2 * stride)
    # PAN's feature pyramid attention halves the narrowest map three times more.
    return PaddedNetwork(built, stride, smallest=8 * stride if name == "PAN" else None)


def _build(network, in_channels, classes, encoder, weights, settings):
    architecture = ARCHITECTURES[network.removeprefix("smp.")]
    channels = {"in_channels": in_channels, "classes": classes}
    try:
        return architecture(encoder_name=encoder, encoder_weights=weights, **channels, **settings)
    except OSError as error:  # all that the hub raises, no connection included, is an OSError
        raise InputError(
            f"The pretrained weights {weights!r} of encoder {encoder!r} could not be downloaded "
            f"({type(error).__name__}); connect to the internet once, or set `weights: null` to "
            f"start from scratch."
        ) from error
    except (TypeError, ValueError, KeyError, AssertionError, RuntimeError) as error:
        raise InputError(
            f"{network} with encoder {encoder!r}, weights {weights!r} and settings {settings} "
            f"cannot be built: {str(error).strip()}"
        ) from error


def _check_encoder(network, encoder, weights):
    """Raise InputError unless smp or timm knows the encoder, and smp its weights."""
    known = smp.encoders.encoders
    if encoder in known:
        names = list(known[encoder]["pretrained_settings"])
        if weights is not None and weights not in names:
            raise InputError(
                f"Unknown weights {weights!r} for encoder {encoder!r} of {network}; choose null "
                f"(from scratch) or one of {', '.join(names) or 'none'}."
            )
    elif not (encoder.startswith("tu-") and timm.is_model(encoder.removeprefix("tu-"))):
        names = [*known, *(f"tu-{model}" for model in timm.list_models())]
        close = difflib.get_close_matches(encoder, names, n=5) or ["resnet18", "resnet34"]
        raise InputError(
            f"Unknown encoder {encoder!r} for {network}; near it are {', '.join(close)} "
            f"(smp has {len(known)} encoders, timm's models begin with 'tu-')."
        )


def _check_settings(network, encoder, settings, parameters):
    """Raise InputError for a setting that the architecture does not have."""
    valid = [n for n in parameters if n not in FIXED | {"self", "kwargs"}]
    for key in settings:
        # A timm encoder takes further keywords of its own, which only timm can check.
        if key in FIXED or (key not in valid and not encoder.startswith("tu-")):
            raise InputError(
                f"Unknown setting {key!r} for {network}; choose among {', '.join(valid)}."
            )
