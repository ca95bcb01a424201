"""Pairs of volume files, image and label, with the case in the file name, as LiTS ships them.

By default `volume-7.nii` or `.nii.gz` goes with `segmentation-7.nii` or `.nii.gz`, searched for in
all sub-folders of `folder`. With a pattern for each of several channels, such as T1 and FLAIR, a
case has a file of each, all on one grid. The ending of a file says its format, see `volume_files`.
Slices lie as `volumes` says, in the plane that `plane` names.
"""

from functools import partial
from itertools import combinations
from pathlib import Path

from labelnoise.config.given import label_settings
from labelnoise.data.sources import Case, Settings, folders
from labelnoise.data.sources.folders import (
    describe_folder,
    find_cases,
    pair_settings,
    pair_up,
    shown_folder,
)
from labelnoise.data.sources.volume_files import UNPLACED, read_pair
from labelnoise.data.sources.volumes import ORIENTATIONS
from labelnoise.errors import InputError

class_names = folders.class_names


def cases(settings: Settings, seed: int) -> list[Case]:
    """Return one case per label and its images, in the order of names; the seed is not used.

    Raises:
        InputError: a folder is missing, nothing matches, a case comes twice, or an image or label
            has no partner, in any channel.
    """
    settings = label_settings(settings)
    folder = Path(settings["folder"])
    key = "folder" if settings["labels_folder"] is None else "labels_folder"
    patterns, several = _patterns(settings), isinstance(settings["images"], dict)
    found = {name: find_cases(folder, each, name, "`folder`") for name, each in patterns.items()}
    labels = find_cases(Path(settings[key]), settings["labels"], "`labels`", f"`{key}`")
    for (name, paths), (other, others) in combinations([*found.items(), ("`labels`", labels)], 2):
        for both in sorted(set(paths.values()) & set(others.values())):
            raise InputError(
                f"{both} matches both {name} and {other}, expected one of them; correct the "
                "patterns so that no name matches both."
            )
    pairs = {
        name: pair_up(f"{folder}, {name}" if several else folder, images, labels, settings)
        for name, images in found.items()
    }
    how, cases = pair_settings(settings), []
    for name in sorted(set(labels).intersection(*pairs.values())):
        parts = [(images[name][0], settings["channel"]) for images in pairs.values()]
        read = partial(read_pair, parts if several else parts[0], labels[name], **how)
        cases.append(Case(name, read))
    return cases


def _patterns(settings):
    """Return the pattern of each channel's files, {what messages call it: pattern}."""
    if isinstance(settings["images"], dict):
        return {f"`images.{name}`": each for name, each in settings["images"].items()}
    return {"`images`": settings["images"]}


def describe(settings: Settings) -> dict:
    """Return the provenance: the folder as the config names it, label values, how slices lie."""
    orientation = ORIENTATIONS[settings["plane"]]
    # A pattern has to name the ending that it wants.
    if any("npy" in pattern for pattern in _patterns(settings).values()):
        orientation = f"{UNPLACED}; {orientation}"
    return describe_folder(
        settings,
        f"images and labels in {shown_folder(settings['folder'])}",
        channel=settings["channel"],
        label_channel=settings["label_channel"],
        orientation=orientation,
    )
