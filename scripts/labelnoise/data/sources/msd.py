"""A task folder of the Medical Segmentation Decathlon, or a raw dataset folder of nnU-Net.

Both hold `dataset.json`, `imagesTr/` and `labelsTr/`. The Decathlon lists its training pairs in
`dataset.json` and may keep several channels in one image. nnU-Net v2 (it has `file_ending`) lists
none: `imagesTr/CASE_0000.nii.gz`, a file per channel, goes with `labelsTr/CASE.nii.gz`. Test
images have no public labels and are not read. Slices lie as `volumes` says, in the plane that
`plane` names.
"""

import json
import logging
import re
from collections import defaultdict
from functools import partial
from pathlib import Path

from labelnoise.data.sources import Case, Settings
from labelnoise.data.sources.folders import find_cases, list_names, pair_up, shown_folder
from labelnoise.data.sources.nifti import read_pair
from labelnoise.data.sources.volumes import ORIENTATIONS
from labelnoise.errors import InputError

logger = logging.getLogger(__name__)

ENDINGS = (".nii.gz", ".nii")


def cases(settings: Settings, seed: int) -> list[Case]:
    """Return one case per training pair, in the order of names; the seed is not used.

    Raises:
        InputError: `dataset.json` is missing or not understood, a file is missing, a case comes
            twice, no channel is chosen among several, or a label value means two things.
    """
    about = _about(settings)
    classes, channel = _classes(settings, about), _channel(settings, about)
    if "file_ending" in about:
        # A file holds one channel, so none is left to choose inside it.
        pairs, inside = _found_pairs(settings, about, channel or 0), None
    else:
        pairs, inside = _listed_pairs(settings, about, channel), channel
    read = partial(
        read_pair,
        classes=classes,
        ignore=settings["ignore"],
        channel=inside,
        plane=settings["plane"],
    )
    return [
        Case(name, partial(read, image, label)) for name, (image, label) in sorted(pairs.items())
    ]


def class_names(settings: Settings) -> list[str]:
    """Return "background" and the structures of the config, or else those of `dataset.json`."""
    return ["background", *_classes(settings, _about(settings))]


def describe(settings: Settings) -> dict:
    """Return the provenance: what `dataset.json` says, label values, and how slices lie."""
    about = _about(settings)
    name = about.get("name", Path(settings["folder"]).name)
    return {
        "what": f"{name}, NIfTI images and labels in {shown_folder(settings['folder'])}",
        "licence": about.get("licence", "not known to this project; see the data's own documents"),
        "reference": about.get("reference", "see the data's own documents"),
        "classes": _classes(settings, about),
        "ignore": list(settings["ignore"]),
        "channel": settings["channel"],
        "orientation": ORIENTATIONS[settings["plane"]],
    }


def _path(settings):
    return Path(settings["folder"]) / "dataset.json"


def _about(settings):
    """Read dataset.json."""
    path = _path(settings)
    if not path.is_file():
        raise InputError(
            f"{path} does not exist, expected the description of a Decathlon task or of an nnU-Net "
            "dataset; correct `folder`, or use `source: nifti` for files without one."
        )
    try:
        about = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); download or write it again.") from None
    for key, kind in {"labels": dict, "file_ending": str, "training": list}.items():
        found = about.get(key, kind()) if isinstance(about, dict) else about
        if not isinstance(found, kind):
            raise InputError(
                f"{path}: `{key}` is of type {type(found).__name__}, expected {kind.__name__}; "
                "correct the file."
            )
    return about


def _classes(settings, about):
    """Return the setting `classes`, or else the labels of dataset.json: {name: values}."""
    if "classes" in settings:
        return {name: list(values) for name, values in settings["classes"].items()}
    labels, path = about.get("labels", {}), _path(settings)
    try:
        if labels and all(key.isdecimal() for key in labels):
            values_of = {str(name): [int(value)] for value, name in labels.items()}
        else:
            values_of = {
                name: [int(v) for v in (values if isinstance(values, list) else [values])]
                for name, values in labels.items()
            }
    except (TypeError, ValueError):
        raise InputError(
            f"{path}: `labels` is {labels}, expected names with whole numbers; correct the file, "
            "or set `classes`."
        ) from None
    # nnU-Net's "ignore" marks voxels that nobody annotated: no class, and not background either.
    classes = {
        name: values for name, values in values_of.items() if values != [0] and name != "ignore"
    }
    if not classes:
        raise InputError(f"{path}: `labels` names no structure; correct the file or set `classes`.")
    _check_values(path, {"background": [0], **classes, "`ignore`": settings["ignore"]})
    return classes


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


def _channel(settings, about):
    """Return the setting `channel`, checked against dataset.json."""
    channel = settings["channel"]
    names = about.get("channel_names") or about.get("modality") or ["one"]
    listed = names.items() if isinstance(names, dict) else enumerate(names)
    if (channel is None and len(names) > 1) or (channel or 0) >= len(names):
        raise InputError(
            f"{_path(settings)} names {len(names)} channels "
            f"({', '.join(f'{number} {name}' for number, name in listed)}) and `channel` is "
            f"{'not set' if channel is None else channel}, expected one of them; set `channel` to "
            "its number."
        )
    return channel


def _listed_pairs(settings, about, channel):
    """Map each case to its image and label, as the Decathlon's dataset.json lists them."""
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
        case = _stem(image.name)
        if case in pairs:
            raise InputError(f"{path} lists case {case!r} twice, expected once; correct the file.")
        pairs[case] = (_with_channel(image, channel or 0), label)
    if not pairs:
        raise InputError(
            f"{path} lists no pair under `training` and gives no `file_ending`, expected one of "
            "the two; correct `folder` or the file."
        )
    missing = [file for pair in pairs.values() for file in pair if not file.is_file()]
    if missing:
        raise InputError(
            f"{path} lists {len(missing)} files that do not exist ({list_names(missing)}); "
            "unpack or download the whole task, or remove the cases from the file."
        )
    return pairs


def _with_channel(image, channel):
    """Return the image as listed, or the file of one channel beside it, as nnU-Net v1 names it."""
    stem = _stem(image.name)
    single = image.with_name(f"{stem}_{channel:04d}{image.name.removeprefix(stem)}")
    return single if single.is_file() and not image.is_file() else image


def _stem(name):
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return name


def _found_pairs(settings, about, channel):
    """Map each case to the files of its channel and label, as nnU-Net v2 names them."""
    ending, folder = about["file_ending"], Path(settings["folder"])
    if ending not in ENDINGS:
        raise InputError(
            f"{_path(settings)}: `file_ending` is {ending!r}, expected one of "
            f"{', '.join(ENDINGS)}; convert the files to NIfTI, or use `source: images` for PNG."
        )
    ends = f"_{channel:04d}{ending}"
    images, labels = (
        find_cases(
            folder / part,
            f"(.+){re.escape(end)}",
            "`file_ending` and `channel`",
            "`folder`",
        )
        for part, end in (("imagesTr", ends), ("labelsTr", ending))
    )
    where = f"{folder}, images that end in {ends}"
    pairs = pair_up(where, images, labels, settings["unlabelled"])
    promised = about.get("numTraining", len(pairs))
    if promised != len(pairs):
        logger.warning("dataset.json counts %s training cases, %d are there", promised, len(pairs))
    return pairs
