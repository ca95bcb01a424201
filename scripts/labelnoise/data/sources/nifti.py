"""Pairs of NIfTI files, image and label, with the case in the file name, as LiTS ships them.

By default `volume-7.nii` or `.nii.gz` goes with `segmentation-7.nii` or `.nii.gz`, searched for in
all sub-folders of `folder`. Slices lie as
`volumes` says, in the plane that `plane` names.
"""

from collections.abc import Collection
from functools import partial
from pathlib import Path

from labelnoise.data.sources import Case, Classes, Settings, folders
from labelnoise.data.sources.folders import describe_folder, find_cases, pair_up, shown_folder
from labelnoise.data.sources.volumes import ORIENTATIONS, labelled_slices, read_nifti
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
    read = partial(
        read_pair,
        classes=settings["classes"],
        ignore=settings["ignore"],
        plane=settings["plane"],
    )
    return [Case(name, partial(read, *pairs[name])) for name in pairs]


def describe(settings: Settings) -> dict:
    """Return the provenance: the folder as the config names it, label values, how slices lie."""
    what = f"NIfTI images and labels in {shown_folder(settings['folder'])}"
    ignore = list(settings["ignore"])
    return describe_folder(
        settings, what, ignore=ignore, orientation=ORIENTATIONS[settings["plane"]]
    )


def read_pair(
    image_path: Path,
    label_path: Path,
    classes: Classes,
    ignore: Collection[int] = (),
    channel: int | None = None,
    plane: str = "axial",
) -> tuple:
    """Read an image and its label as slices, as `Case.read` does.

    Args:
        channel: channel of the image, where it has several.
        plane: axial, sagittal, coronal or acquired, see `volumes.resolve_plane`.

    Raises:
        InputError: as `read_nifti` and `labelled_slices`.
    """
    image, label = read_nifti(image_path, channel), read_nifti(label_path)
    where = f"{label_path}, label of {image_path}"
    return labelled_slices(image, label, classes, where, ignore, plane)
