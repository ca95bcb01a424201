"""The channels of a dataset's images: their names, and what is said of the intensities of each."""

from collections.abc import Mapping
from typing import Any

from labelnoise.config.messages import shown
from labelnoise.errors import InputError

# What the channel of a dataset is called whose only one has no name.
ONE = "image"
RGB = ("red", "green", "blue")
# Settings that may be one for all channels, or {channel: its own}.
NORMALISE_KEYS = ("method", "by", "over", "percentiles")


def channel_names(dataset: Mapping[str, Any]) -> list[str] | None:
    """Return the names of a dataset's channels in their order; None where only its data know them.

    Args:
        dataset: its settings in canonical form.
    """
    if dataset.get("colour") == "rgb":
        return list(RGB)
    for key in ("images", "series_description"):
        if isinstance(dataset.get(key), Mapping):
            return list(dataset[key])
    several = isinstance(dataset.get("channel"), list | str)
    return None if several else [ONE]


def is_by_channel(key: str, value: Any) -> bool:
    """Return whether the value of `window` or `normalise` has one for each channel."""
    if not isinstance(value, Mapping):
        return False
    return key == "window" or not any(name in value for name in NORMALISE_KEYS)


def intensity_settings(
    name: str, dataset: Mapping[str, Any], channels: list[str] | None
) -> dict[str, dict[str, Any]]:
    """Return what is said of the intensities of each channel, checked.

    Args:
        name: the dataset's name.
        dataset: its settings in canonical form.
        channels: names of its channels; None, where they are not known yet, for those it names.

    Returns:
        {channel: {"normalise": its settings, "window": [low, high], if it has one}}.

    Raises:
        InputError: a channel is unknown, or is left out, or its settings contradict each other.
    """
    keyed = {
        key: dataset[key] for key in ("window", "normalise") if is_by_channel(key, dataset.get(key))
    }
    if channels is None:
        channels = list(dict.fromkeys(channel for each in keyed.values() for channel in each))
        channels = channels or [ONE]
    for key, value in keyed.items():
        _check_names(f"config key 'datasets.{name}.{key}'", value, channels)
    if "normalise" in keyed:
        for channel in channels:
            if channel not in keyed["normalise"]:
                raise InputError(
                    f"config key 'datasets.{name}.normalise' lacks the channel {shown(channel)}; "
                    "give each channel one, or one for all."
                )
    found = {}
    for channel in channels:
        normalise, window = (
            keyed[key].get(channel) if key in keyed else dataset.get(key)
            for key in ("normalise", "window")
        )
        one = {"normalise": normalise or {"method": "window"}}
        # One window for all, beside a method for each, is for those that take one.
        unused = list(keyed) == ["normalise"] and one["normalise"]["method"] != "window"
        if window is not None and not unused:
            one["window"] = window
        _check_one(f"config key 'datasets.{name}", channel, keyed, one)
        found[channel] = one
    if "window" in dataset and not any("window" in one for one in found.values()):
        raise InputError(
            f"config key 'datasets.{name}.window' is given, but no channel's 'normalise' is "
            "window; remove it."
        )
    return found


def _check_names(key, value, channels):
    if channels == [ONE]:
        raise InputError(
            f"{key} is a mapping of channels, but the dataset has one channel, which has no name; "
            "give the value alone."
        )
    for channel in value:
        if channel not in channels:
            raise InputError(
                f"{key} names the channel {shown(channel)}, which the dataset lacks; it has "
                f"{', '.join(channels)}."
            )


def _check_one(key, channel, keyed, one):
    """Check what is said of one channel."""

    def named(setting, part=""):
        of_channel = f".{channel}" if setting in keyed else ""
        return f"{key}.{setting}{of_channel}{part}'"

    window, chosen = one.get("window"), one["normalise"]
    method, percentiles = chosen["method"], chosen.get("percentiles")
    if window is not None and not window[0] < window[1]:
        raise InputError(f"{named('window')} is {window}; expected [low, high] with low < high.")
    if method == "window" and window is None:
        raise InputError(
            f"{named('window')} is missing; give the intensities [low, high] that become -1 and 1, "
            "or say how to find them: 'normalise: percentile', zscore or none."
        )
    if method != "window" and window is not None:
        raise InputError(
            f"{named('window')} is given, but 'normalise' is {method}, which takes none; remove "
            "one of the two."
        )
    if percentiles is not None and not percentiles[0] < percentiles[1]:
        raise InputError(
            f"{named('normalise', '.percentiles')} is {percentiles}; expected [low, high] with "
            "low < high."
        )
    if chosen.get("over") == "foreground" and chosen["by"] == "case":
        raise InputError(
            f"{named('normalise', '.over')} is foreground, which a new case does not have before "
            "it is segmented; write 'by: dataset', or 'over: all'."
        )
