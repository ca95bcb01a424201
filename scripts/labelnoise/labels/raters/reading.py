"""Folders of masks of the same objects by several people.

Shape legend: R raters, Z slices, H height, W width.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from labelnoise.data.sources.folders import walk
from labelnoise.data.sources.volume_files import read_volume, strip_ending
from labelnoise.data.sources.volumes import Volume, resolve_plane, slices_of
from labelnoise.errors import InputError
from labelnoise.labels.raters.statistics import Outlined

log = logging.getLogger(__name__)

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
# How a file's name begins in a folder of one object.
RATER = "rater"
LAYOUTS = (
    "a folder for each object with rater-1.nii.gz, rater-2.nii.gz and so on, or a folder for each "
    "rater with files of the same names"
)


def find_masks(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each object, those of one rater after the other.

    Where every file lies in a folder of `folder` and its name begins with `rater`, a folder is an
    object. Else a folder in `folder` is a rater, and files of the same path in it (an nnU-Net
    labelsTr, BIDS derivatives) are one object. Objects of a single rater are left out, and named in
    the log.

    Raises:
        InputError: no object has two raters, or the folder cannot be listed.
    """
    paths = [path for path in walk(folder) if path.name.lower().endswith(ENDINGS)]
    inner = [path.relative_to(folder) for path in paths]
    by_object = all(len(path.parts) == 2 and path.name.startswith(RATER) for path in inner)
    found: dict[str, list[Path]] = {}
    for path, relative in zip(paths, inner, strict=True):
        if len(relative.parts) > 1:
            rest = Path(*relative.parts[1:])
            name = relative.parts[0] if by_object else str(rest.parent / strip_ending(rest.name))
            found.setdefault(name, []).append(path)
    alone = [name for name, files in found.items() if len(files) < 2]
    several = {name: files for name, files in found.items() if len(files) > 1}
    if not several:
        raise InputError(
            f"the folder {folder} holds {len(paths)} files of masks and no object outlined by two "
            f"people, expected {LAYOUTS}."
        )
    if alone:
        log.warning("%d objects of a single rater are left out: %s", len(alone), _listed(alone))
    return several


def read_object(name: str, paths: list[Path], label: int | None = None) -> Outlined | None:
    """Read the masks of one object, cut to what any rater outlined.

    Args:
        name: of the object.
        paths: a file a rater.
        label: label value that is the structure; None is every value above 0.

    Returns:
        The object, slices in the plane of its two finest axes; None where fewer than two raters
        outlined anything.

    Raises:
        InputError: a file is damaged, holds what is no label, or lies on another grid than the
            first.
    """
    first: Volume | None = None
    masks = []
    for path in paths:
        volume = read_volume(path)
        if first is None:
            first = volume
        elif volume.array_IJK.shape != first.array_IJK.shape or not np.allclose(
            volume.affine, first.affine, atol=1e-3
        ):
            raise InputError(
                f"{path} has {_grid(volume)}, and {paths[0]} of the same object {_grid(first)}, "
                "expected one grid; resample one of them to that of the other."
            )
        mask = _mask(path, volume.array_IJK, label)
        if mask.any():
            masks.append(mask)
    if first is None or len(masks) < 2:
        return None
    slices = [
        slices_of(Volume(mask, first.affine), resolve_plane(first, "acquired", name))
        for mask in masks
    ]
    spacing_3 = slices[0][1]
    masks_RZHW = np.stack([mask_ZHW for mask_ZHW, _ in slices])
    between = float(spacing_3[0]) if masks_RZHW.shape[1] > 1 else np.nan
    filled = [
        np.flatnonzero(masks_RZHW.any(axis=tuple({0, 1, 2, 3} - {axis}))) for axis in (1, 2, 3)
    ]
    box = tuple(slice(each[0], each[-1] + 1) for each in filled)
    kept = np.ascontiguousarray(masks_RZHW[:, *box])
    return Outlined(name, kept, (between, float(spacing_3[1]), float(spacing_3[2])))


def read_folder(folder: Path, label: int | None = None) -> list[Outlined]:
    """Read all objects of a folder that two raters or more outlined.

    Raises:
        InputError: see `find_masks` and `read_object`, or no object is left.
    """
    found, left_out = [], []
    for name, paths in find_masks(folder).items():
        outlined = read_object(name, paths, label)
        if outlined is None:
            left_out.append(name)
        else:
            found.append(outlined)
    wanted = "a label above 0" if label is None else f"the label {label}"
    if not found:
        raise InputError(
            f"no object in {folder} has {wanted} in the files of two raters; correct --label, or "
            "give other masks."
        )
    if left_out:
        log.warning(
            "%d objects with %s by fewer than two raters are left out: %s",
            len(left_out),
            wanted,
            _listed(left_out),
        )
    return found


def _mask(path, array, label):
    """Return where a label file holds the structure."""
    whole = np.isfinite(array).all() and (array == np.rint(array)).all() and (array >= 0).all()
    if not whole:
        raise InputError(
            f"{path} holds values that are no labels, expected whole numbers from 0; give the "
            "masks, not the images."
        )
    return array > 0 if label is None else array == label


def _grid(volume):
    sides = " x ".join(str(size) for size in volume.array_IJK.shape)
    lengths = np.linalg.norm(volume.affine[:3, :3], axis=0)
    origin = ", ".join(f"{at:.4g}" for at in volume.affine[:3, 3])
    return f"{sides} voxels of {' x '.join(f'{each:.4g}' for each in lengths)} mm from {origin}"


def _listed(names: Iterable[str], most: int = 5) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
