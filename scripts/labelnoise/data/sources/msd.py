"""A task folder of the Medical Segmentation Decathlon, or a raw dataset folder of nnU-Net.

Both hold `dataset.json`, `imagesTr/` and `labelsTr/`. The Decathlon lists its training pairs in
`dataset.json` and may keep several channels in one image. nnU-Net v2 (it has `file_ending`) lists
none: `imagesTr/CASE_0000.nii.gz`, a file per channel, goes with `labelsTr/CASE.nii.gz`, or both
with another ending of `volume_files`. `channel` chooses one channel, a list of them, or all. Test
images have no public labels and are not read. Slices lie as `volumes` says, in the plane that
`plane` names.

Structures are named as `dataset.json` names them, white space in a name becoming "_".
"""

import json
import logging
import os
import re
from collections import defaultdict
from functools import partial
from pathlib import Path

from labelnoise.config.given import label_settings
from labelnoise.config.schema import name_fault
from labelnoise.data.sources import Case, Settings
from labelnoise.data.sources.folders import (
    find_cases,
    list_names,
    pair_settings,
    pair_up,
    shown_folder,
)
from labelnoise.data.sources.label_values import ranges
from labelnoise.data.sources.volume_files import ENDINGS, read_pair, strip_ending
from labelnoise.data.sources.volumes import ORIENTATIONS
from labelnoise.errors import InputError

logger = logging.getLogger(__name__)

# What `dataset.json` may hold under a key, where it has the key.
KINDS = {
    "labels": (dict,),
    "file_ending": (str,),
    "training": (list,),
    "modality": (dict, list),
    "channel_names": (dict, list),
}
MOST_CLASSES = 255
LARGEST_VALUE = 2**32 - 1


def cases(settings: Settings, seed: int) -> list[Case]:
    """Return one case per training pair, in the order of names; the seed is not used.

    Raises:
        InputError: `dataset.json` is missing or not understood, a file is missing, a case comes
            twice, no channel is chosen among several, or a label value means two things.
    """
    settings, about = label_settings(settings), _about(settings)
    classes, channels = _classes(settings, about), _channels(settings, about)
    parts, labels = defaultdict(list), {}
    for channel in channels:
        if "file_ending" in about:
            pairs = _found_pairs(settings, about, channel or 0)
        else:
            pairs = _listed_pairs(settings, about, channel)
        for name, (part, labels[name]) in pairs.items():
            parts[name].append(part)
    _warn_of_ignore(settings, about)
    several = isinstance(settings["channel"], list | str)
    how = pair_settings({**settings, "classes": classes})
    return [
        Case(name, partial(read_pair, images if several else images[0], labels[name], **how))
        for name, images in sorted(parts.items())
    ]


def channel_names(settings: Settings) -> list[str]:
    """Return the names that dataset.json gives to the chosen channels.

    They get the channels' numbers where two share a name, such as "zscore" in nnU-Net.
    """
    about = _about(settings)
    names = {channel: str(_names(about)[channel]) for channel in _channels(settings, about)}
    if len(set(names.values())) == len(names):
        return list(names.values())
    return [f"{name}_{channel}" for channel, name in names.items()]


def class_names(settings: Settings) -> list[str]:
    """Return "background" and the structures of the config, or else those of `dataset.json`."""
    return ["background", *_classes(settings, _about(settings))]


def describe(settings: Settings) -> dict:
    """Return the provenance: what `dataset.json` says, label values, and how slices lie."""
    about = _about(settings)
    name = about.get("name", Path(settings["folder"]).name)
    return {
        "what": f"{name}, images and labels in {shown_folder(settings['folder'])}",
        "licence": about.get("licence", "not known to this project; see the data's own documents"),
        "reference": about.get("reference", "see the data's own documents"),
        "classes": _classes(settings, about),
        "ignore": list(settings["ignore"]),
        "others": settings["others"],
        "channel": settings["channel"],
        "label_channel": settings["label_channel"],
        "orientation": ORIENTATIONS[settings["plane"]],
    }


def _path(settings):
    return Path(settings["folder"]) / "dataset.json"


def _about(settings):
    return read_about(_path(settings))


def read_about(path: Path) -> dict:
    """Read dataset.json.

    Raises:
        InputError: it is missing, or a value is not of the type that it has to be.
    """
    if not path.is_file():
        raise InputError(
            f"{path} does not exist, expected the description of a Decathlon task or of an nnU-Net "
            "dataset; correct `folder`, or use `source: volumes` for files without one."
        )
    try:
        about = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        reason = "its values are nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(f"{path} is not JSON ({reason}); download or write it again.") from None
    if not isinstance(about, dict):
        raise InputError(
            f"{path} is of type {type(about).__name__}, expected dict; correct the file."
        )
    for key, kinds in KINDS.items():
        if about.get(key) is not None and not isinstance(about[key], kinds):
            raise InputError(
                f"{path}: `{key}` is of type {type(about[key]).__name__}, expected "
                f"{' or '.join(kind.__name__ for kind in kinds)}; correct the file."
            )
    return {key: value for key, value in about.items() if value is not None}


def _classes(settings, about):
    """Return the setting `classes`, or else the labels of dataset.json: {name: values}."""
    if "classes" in settings:
        return {name: list(values) for name, values in settings["classes"].items()}
    path = _path(settings)
    # nnU-Net's "ignore" marks voxels that nobody annotated: no class, and not background either.
    classes = {
        name: values
        for name, values in label_values(path, about).items()
        if values != [0] and name != "ignore"
    }
    if not 0 < len(classes) <= MOST_CLASSES:
        raise InputError(
            f"{path}: `labels` names {len(classes) or 'no'} structure{'s' if classes else ''}, "
            f"expected 1 to {MOST_CLASSES}; correct the file or set `classes`."
        )
    for name, values in classes.items():
        expected = name_fault(name)
        if expected:
            raise InputError(
                f"{path}: `labels` gives the values {ranges(values)} the name {name[:120]!r}, "
                f"expected {expected}; set `classes`, with a name of yours for these values."
            )
    _check_values(path, {"background": [0], **classes, "`ignore`": settings["ignore"]})
    return classes


def label_values(path: Path, about: dict) -> dict[str, list[int]]:
    """Return the labels of dataset.json, {name: values}, whichever of them is the key.

    Raises:
        InputError: they are no names with whole numbers.
    """
    labels = about.get("labels", {})
    if labels and all(key.isdecimal() for key in labels):
        pairs = [(name, value) for value, name in labels.items()]
    else:
        pairs = list(labels.items())
    values_of: dict[str, list[int]] = {}
    try:
        for name, values in pairs:
            name = "_".join(str(name).split())
            if name in values_of:
                raise ValueError(f"{name} comes twice")
            values_of[name] = [
                _value(v) for v in (values if isinstance(values, list) else [values])
            ]
            if not values_of[name]:
                raise ValueError(f"{name} has no value")
    except ValueError as error:
        raise InputError(
            f"{path}: `labels` is {str(labels)[:200]} ({error}), expected names with whole numbers "
            f"from 0 to {LARGEST_VALUE}; correct the file, or set `classes`."
        ) from None
    return values_of


def _value(value):
    """Return a label value, a number or its digits, as int."""
    is_digits = isinstance(value, str) and value.isdecimal() and len(value) <= 10
    if not is_digits and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError(f"{str(value)[:50]} is no whole number")
    if not 0 <= int(value) <= LARGEST_VALUE:
        raise ValueError(f"{str(value)[:50]} is out of range")
    return int(value)


def _warn_of_ignore(settings, about):
    """Say it where voxels that nobody annotated become background, as `others` has it."""
    path = _path(settings)
    if settings["others"] == "background" and "ignore" in label_values(path, about):
        logger.warning(
            "%s: voxels of the label `ignore`, which nobody annotated, become background, since "
            "`others` is background",
            path,
        )


def _check_values(path, values_of):
    """Refuse a label value with two meanings, as regions of nnU-Net have that overlap."""
    owners = defaultdict(list)
    for name, values in values_of.items():
        for value in set(values):
            owners[value].append(name)
    for value, names in owners.items():
        if len(names) > 1:
            raise InputError(
                f"{path}: label value {value} means {' and '.join(names)}, expected one of them; "
                "set `classes` so that every value has one meaning."
            )


def _channels(settings, about):
    """Return the chosen channels, checked against dataset.json: numbers, or [None] for the one."""
    channel, names = settings["channel"], _names(about)
    if channel == "all":
        return list(range(len(names)))
    chosen = channel if isinstance(channel, list) else [channel]
    if (channel is None and len(names) > 1) or any((each or 0) >= len(names) for each in chosen):
        listed = ", ".join(f"{number} {name}" for number, name in enumerate(names))
        raise InputError(
            f"{_path(settings)} names {len(names)} channels ({listed}) and `channel` is "
            f"{'not set' if channel is None else channel}, expected one of them; set `channel` to "
            "its number, to a list of numbers, or to all."
        )
    return chosen


def _names(about):
    """Return the names of all channels, in the order of their numbers."""
    names = about.get("channel_names") or about.get("modality") or ["one"]
    if not isinstance(names, dict):
        return list(names)
    in_order = sorted(names, key=int) if all(key.isdecimal() for key in names) else names
    return [names[number] for number in in_order]


def _listed_pairs(settings, about, channel):
    """Map each case to its part, see `volume_files`, and label, as the Decathlon lists them."""
    pairs, path = {}, _path(settings)
    for entry in about.get("training", []):
        try:
            image, label = path.parent / entry["image"], path.parent / entry["label"]
        except (TypeError, KeyError):
            raise InputError(
                f"{path}: an entry of `training` is {entry!r}, expected an image and a label; "
                "correct the file."
            ) from None
        # macOS leaves such files, and some published lists name them.
        if image.name.startswith("._"):
            continue
        case = strip_ending(image.name)
        if case in pairs:
            raise InputError(f"{path} lists case {case!r} twice, expected once; correct the file.")
        pairs[case] = (_part(image, channel), label)
    if not pairs:
        raise InputError(
            f"{path} lists no pair under `training` and gives no `file_ending`, expected one of "
            "the two; correct `folder` or the file."
        )
    if "given" in settings:
        given = Path(settings["labels_folder"])
        found = {name: (part, given / label.name) for name, (part, label) in pairs.items()}
        pairs = {name: pair for name, pair in found.items() if os.path.isfile(pair[1])}
    files = [file for (image, _), label in pairs.values() for file in (image, label)]
    missing = [file for file in files if not os.path.isfile(file)]
    if missing:
        raise InputError(
            f"{path} lists {len(missing)} files that do not exist ({list_names(missing)}); "
            "unpack or download the whole task, or remove the cases from the file."
        )
    return pairs


def _part(image, channel):
    """Return the image as listed, or the file of one channel beside it, as nnU-Net v1 names it."""
    stem = strip_ending(image.name)
    single = image.with_name(f"{stem}_{channel or 0:04d}{image.name.removeprefix(stem)}")
    if os.path.isfile(single) and not os.path.isfile(image):
        return single, None
    return image, channel


def _found_pairs(settings, about, channel):
    """Map each case to the part of its channel and label, as nnU-Net v2 names them."""
    ending, folder = about["file_ending"], Path(settings["folder"])
    if ending not in ENDINGS:
        raise InputError(
            f"{_path(settings)}: `file_ending` is {ending!r}, expected one of "
            f"{', '.join(ENDINGS)}; convert the files to NIfTI, or use `source: images` for PNG."
        )
    ends = f"_{channel:04d}{ending}"
    images, labels = (
        find_cases(place, f"(.+){re.escape(end)}", "`file_ending` and `channel`", "`folder`")
        for place, end in (
            (folder / "imagesTr", ends),
            (Path(settings.get("labels_folder") or folder / "labelsTr"), ending),
        )
    )
    where = f"{folder}, images that end in {ends}"
    pairs = pair_up(where, images, labels, settings)
    promised = about.get("numTraining", len(pairs))
    if promised != len(pairs) and "given" not in settings:
        logger.warning("dataset.json counts %s training cases, %d are there", promised, len(pairs))
    # A file holds one channel, so none is left to choose inside it.
    return {name: ((image, None), label) for name, (image, label) in pairs.items()}
