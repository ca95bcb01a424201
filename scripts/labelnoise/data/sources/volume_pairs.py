"""Pairs of volume files, image and label, with the case in the file name, as LiTS ships them.

By default `volume-7.nii` or `.nii.gz` goes with `segmentation-7.nii` or `.nii.gz`, searched for in
all sub-folders of `folder`. The ending of a file says its format, see `volume_files`. Slices lie
as `volumes` says, in the plane that `plane` names.
"""

from functools import partial
from pathlib import Path

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
    """Return one case per pair of files, in the order of names; the seed is not used.

    Raises:
        InputError: a folder is missing, nothing matches, a case comes twice, or an image or label
            has no partner.
    """
    folder = Path(settings["folder"])
    key = "folder" if settings["labels_folder"] is None else "labels_folder"
    images = find_cases(folder, settings["images"], "`images`", "`folder`")
    labels = find_cases(Path(settings[key]), settings["labels"], "`labels`", f"`{key}`")
    for both in sorted(set(images.values()) & set(labels.values())):
        raise InputError(
            f"{both} matches both `images` and `labels`, expected one of them; correct the "
            "patterns so that no name matches both."
        )
    pairs = pair_up(folder, images, labels, settings["unlabelled"])
    how = {**pair_settings(settings), "channel": settings["channel"]}
    return [Case(name, partial(read_pair, *pairs[name], **how)) for name in pairs]


def describe(settings: Settings) -> dict:
    """Return the provenance: the folder as the config names it, label values, how slices lie."""
    orientation = ORIENTATIONS[settings["plane"]]
    # A pattern has to name the ending that it wants.
    if "npy" in settings["images"]:
        orientation = f"{UNPLACED}; {orientation}"
    return describe_folder(
        settings,
        f"images and labels in {shown_folder(settings['folder'])}",
        channel=settings["channel"],
        label_channel=settings["label_channel"],
        orientation=orientation,
    )
