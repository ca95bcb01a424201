"""Pairs of NIfTI files, image and label, with the case in the file name, such as LiTS ships them.

By default `volume-7.nii` or `.nii.gz` goes with `segmentation-7.nii` or `.nii.gz`, searched for in
all sub-folders of `folder`. Slices are axial and in radiological view, see `volumes`.
"""

import logging
from functools import partial
from pathlib import Path

from labelnoise.data.sources import Case
from labelnoise.data.sources.patterns import case_of, compile_pattern, walk
from labelnoise.data.sources.volumes import ORIENTATION, class_of_value, labelled_slices, read_nifti
from labelnoise.errors import InputError

logger = logging.getLogger(__name__)

IMAGES = r"volume-(\d+)\.nii(\.gz)?"
LABELS = r"segmentation-(\d+)\.nii(\.gz)?"


def cases(settings, seed):
    """One case for each pair of files, in the order of names; the seed is not used.

    Raises:
        InputError: a folder is missing, nothing matches, a case comes twice, an image or label has
            no partner, or a label value means two things.
    """
    classes, ignore = settings["classes"], settings.get("ignore", [])
    class_of_value(classes, ignore)
    pairs = _pairs(settings)
    return [Case(name, partial(read_pair, *pairs[name], classes, ignore)) for name in sorted(pairs)]


def class_names(settings):
    return ["background", *settings["classes"]]


def describe(settings):
    """Provenance: the folder as the config names it, label values, and how slices lie."""
    return {
        "what": f"NIfTI images and labels in {settings['folder']}",
        "licence": "not known to this project; see the folder's own documents",
        "classes": {name: list(values) for name, values in settings["classes"].items()},
        "ignore": list(settings.get("ignore", [])),
        "orientation": ORIENTATION,
    }


def read_pair(image_path, label_path, classes, ignore=(), channel=None):
    """Read an image and its label as slices, as `Case.read` does.

    Args:
        channel: channel of the image, where it has several.

    Raises:
        InputError: as `read_nifti` and `labelled_slices`.
    """
    image, label = read_nifti(image_path, channel), read_nifti(label_path)
    where = f"{label_path}, label of {image_path}"
    return labelled_slices(image, label, classes, where, ignore)


def _pairs(settings):
    """Map each case to the paths of its image and label."""
    folder = Path(settings["folder"])
    labels_folder = Path(settings.get("labels_folder") or folder)
    images = _files(folder, settings.get("images", IMAGES), "images", "folder")
    labels = _files(
        labels_folder,
        settings.get("labels", LABELS),
        "labels",
        "labels_folder" if settings.get("labels_folder") else "folder",
    )
    for both in sorted(set(images.values()) & set(labels.values())):
        raise InputError(
            f"{both} matches both `images` and `labels`, expected one of them; correct the "
            "patterns so that no name matches both."
        )
    missing = sorted(set(labels) - set(images))
    if missing:
        raise InputError(
            f"{labels_folder}: {len(missing)} labels have no image "
            f"({list_names(labels[name] for name in missing)}), expected pairs; add each missing "
            "image or remove the label."
        )
    return pair_up(folder, images, labels, settings.get("unlabelled", "refuse"))


def pair_up(folder, images, labels, unlabelled):
    """Map each case with image and label to both paths.

    Args:
        images, labels: {case: path}.
        unlabelled: "refuse" or "skip" images without label.

    Raises:
        InputError: images have no label and `unlabelled` is "refuse".
    """
    missing = sorted(set(images) - set(labels))
    if missing:
        found = f"{len(missing)} of {len(images)} images have no label"
        listed = list_names(images[name] for name in missing)
        if unlabelled == "refuse":
            raise InputError(
                f"{folder}: {found} ({listed}), expected one each; add the labels, or set "
                "`unlabelled: skip` to leave these images out."
            )
        logger.warning("%s: %s and are left out (%s)", folder, found, listed)
    return {name: (images[name], labels[name]) for name in images if name in labels}


def list_names(paths):
    """The names of all files: who must find the missing ones needs each of them."""
    return ", ".join(Path(path).name for path in paths)


def _files(folder, text, key, folder_key):
    """Map the case in each matching file name to its path, over all sub-folders."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder, expected one; correct `{folder_key}`.")
    pattern, found = compile_pattern(key, text, r"volume-(\d+)\.nii"), {}
    for path in walk(folder):
        match = pattern.fullmatch(path.name)
        if not match:
            continue
        case = case_of(match)
        if not case:
            raise InputError(
                f"{path} matches `{key}` {text!r} without naming a case; correct the pattern."
            )
        if case in found:
            raise InputError(
                f"{path} and {found[case]} are both case {case!r}, expected one file each; "
                f"remove one of them, or mend the pattern `{key}`."
            )
        found[case] = path
    if not found:
        raise InputError(
            f"{folder} holds no file whose whole name matches `{key}` {text!r}; correct "
            f"`{folder_key}` or `{key}`."
        )
    return found
