"""Volumes in world space: one orientation for all slices, labels on the image's grid.

Every slice of the project that comes from a volume lies in one of three planes, and in radiological
view:

plane     slices, numbered from 0      rows                     columns
axial     from inferior to superior    anterior to posterior    the patient's right to left
sagittal  from the right to the left   superior to inferior     anterior to posterior
coronal   from anterior to posterior   superior to inferior     the patient's right to left

So the liver is on the left of an axial or coronal slice, and the nose on that of a sagittal one:
the orientations in which DICOM viewers show them. `acquired` is the plane of a volume's two finest
voxel axes, in which it was most likely scanned. Volumes are turned by permuting and flipping axes
alone; an oblique volume keeps its own grid, in the closest such orientation.

Shape legend: I, J, K voxel axes of the file; S slices, H rows, W columns.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import nibabel
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from labelnoise.data.sources import Classes
from labelnoise.data.sources.label_values import to_class_indices
from labelnoise.errors import InputError

logger = logging.getLogger(__name__)

# Where slices, rows and columns point to: superior, inferior, posterior or left. In the order in
# which `acquired` prefers them where a volume's axes are equally fine.
AXES = {"axial": ("S", "P", "L"), "sagittal": ("L", "I", "P"), "coronal": ("P", "I", "L")}
ORIENTATIONS = {
    "axial": "axial slices from inferior to superior, rows from anterior to posterior, columns "
    "from the patient's right to left (radiological view)",
    "sagittal": "sagittal slices from the patient's right to left, rows from superior to inferior, "
    "columns from anterior to posterior (radiological view)",
    "coronal": "coronal slices from anterior to posterior, rows from superior to inferior, columns "
    "from the patient's right to left (radiological view)",
    "acquired": "slices in the plane of each volume's two finest axes, axial where all are equally "
    "fine, in radiological view",
}
OPPOSITE = {"S": "I", "P": "A", "L": "R"}
# Share by which voxel axes may differ and still count as equally fine. Headers round.
EQUALLY_FINE = 0.01
# Share of a voxel by which corners of two grids may differ. Headers round; a tenth of a voxel moves
# no label, while half a voxel or a missing slice is far above it.
TOLERANCE = 0.1
# Sides of a voxel in mm, from under a microscope to far above any scanner.
SPACINGS = (1e-6, 1e6)


@dataclass(frozen=True)
class Volume:
    """Voxels with their place in the world.

    Attributes:
        array_IJK: any number type, axes as stored.
        affine: (4, 4), voxel index to world mm; world axes point right, anterior and superior.
        placed: whether the file says where it lies; if not, the affine holds voxels of 1 mm along
            the axes that the file's format stands for, and the true spacing is unknown.
    """

    array_IJK: np.ndarray
    affine: np.ndarray
    placed: bool = True


def labelled_slices(
    image: Volume,
    label: Volume,
    classes: Classes,
    where: str,
    ignore: Collection[int] = (),
    others: str = "refuse",
    plane: str = "axial",
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the slices of an image and its label, as `Case.read` does.

    Args:
        where: the files, for messages.
        ignore: label values that become background.
        others: see `to_class_indices`.
        plane: see `resolve_plane`.

    Returns:
        images_SHW in the image's own number type, labels_SHW uint8 class indices, numbers_S from
        0, spacing_3 (slice, row, column) in mm, NaN where it is unknown.

    Raises:
        InputError: as `to_class_indices` and `match_grid`, or one of the two does not say where it
            lies.
    """
    if image.placed != label.placed:
        raise InputError(
            f"{where}: the {'label' if image.placed else 'image'} does not say how it lies in the "
            "patient, unlike the other, so nobody can tell which of its voxels are which; give "
            "both as .npy, or both in a format with an orientation."
        )
    plane = resolve_plane(image, plane, where)
    indices_IJK = to_class_indices(label.array_IJK, classes, where, ignore, others)
    indices = Volume(indices_IJK, label.affine)
    matched = Volume(match_grid(image, indices, where), image.affine)
    images_SHW, spacing_3 = slices_of(image, plane)
    labels_SHW, _ = slices_of(matched, plane)
    if not image.placed:
        spacing_3 = np.full(3, np.nan)
    return images_SHW, labels_SHW, np.arange(len(images_SHW)), spacing_3


def slices_of(volume: Volume, plane: str = "axial") -> tuple[np.ndarray, np.ndarray]:
    """Turn a volume to the project's orientation; a view, nothing is copied or resampled.

    Args:
        plane: axial, sagittal or coronal.

    Returns:
        slices_SHW, spacing_3: distance of slices, rows and columns in mm.
    """
    turn = ornt_transform(io_orientation(volume.affine), axcodes2ornt(AXES[plane]))
    spacing_3 = np.empty(3)
    spacing_3[turn[:, 0].astype(int)] = _spacing(volume.affine)
    return apply_orientation(volume.array_IJK, turn), spacing_3


def volume_of(slices_SHW: np.ndarray, affine: np.ndarray, plane: str) -> np.ndarray:
    """Turn slices back to the axes of the volume that `slices_of` took them from; a view.

    Args:
        affine: (4, 4), that volume's.
        plane: axial, sagittal or coronal.

    Returns:
        (I, J, K), one value for each voxel of the volume.
    """
    turn = ornt_transform(axcodes2ornt(AXES[plane]), io_orientation(affine))
    return apply_orientation(slices_SHW, turn)


def resolve_plane(volume: Volume, plane: str, where: str) -> str:
    """Return the plane of a volume's slices; say in the log which one `acquired` is.

    Args:
        plane: axial, sagittal, coronal, or acquired, see `acquired_plane`.
        where: the files, for the log.
    """
    if plane != "acquired":
        return plane
    found = acquired_plane(volume)
    spacing = _times(np.round(_spacing(volume.affine), 4))
    logger.info("%s: acquired in %s slices, voxels of %s mm", where, found, spacing)
    return found


def acquired_plane(volume: Volume) -> str:
    """Return the plane of a volume's two finest voxel axes: axial, sagittal or coronal.

    Its slices lie across the coarsest axis. Of axes that are equally coarse, to 1 %, the first of
    inferior-superior, right-left and anterior-posterior counts, so volumes of equal sides are
    axial.
    """
    towards = nibabel.aff2axcodes(volume.affine)
    spacing_of = dict(zip(towards, _spacing(volume.affine), strict=True))
    across = {
        plane: max(spacing_of.get(slices, 0), spacing_of.get(OPPOSITE[slices], 0))
        for plane, (slices, *_) in AXES.items()
    }
    coarsest = max(across.values())
    return next(name for name, gap in across.items() if gap >= coarsest * (1 - EQUALLY_FINE))


def channel_slices(volumes: Sequence[Volume], names: Sequence[str], plane: str) -> list[np.ndarray]:
    """Return the slices (S, H, W) of each channel of a case, all on the grid of the first.

    Args:
        volumes: one for each channel.
        names: the file or folder of each, for messages.
        plane: axial, sagittal or coronal.

    Raises:
        InputError: the grids are not one up to permuted and flipped axes, or some of the files do
            not say where they lie.
    """
    first, slices = volumes[0], []
    for volume, name in zip(volumes, names, strict=True):
        where = f"{name}, a channel beside {names[0]}"
        if volume.placed != first.placed:
            raise InputError(
                f"{where}: one of the two does not say how it lies in the patient, unlike the "
                "other; give all channels as .npy, or all in a format with an orientation."
            )
        pair = ("this channel", "the first channel")
        matched = Volume(match_grid(first, volume, where, pair), first.affine)
        slices.append(slices_of(matched, plane)[0])
    return slices


def match_grid(
    image: Volume, label: Volume, where: str, names: tuple[str, str] = ("the label", "the image")
) -> np.ndarray:
    """Return the label's array on the image's grid, by their affines; a view, never resampled.

    The grids must be one up to permuted and flipped axes: no corner voxel may lie more than
    `TOLERANCE` voxels of the image off, along any axis.

    Args:
        where: the files, for messages.
        names: what messages call the second volume and the first.

    Raises:
        InputError: the grids differ.
    """
    to_image = np.linalg.inv(image.affine) @ label.affine
    signs = np.round(to_image[:3, :3])
    if _is_signed_permutation(signs):
        turn = np.column_stack([np.abs(signs).argmax(axis=0), signs.sum(axis=0)])
        turned = apply_orientation(label.array_IJK, turn)
        affine = label.affine @ nibabel.orientations.inv_ornt_aff(turn, label.array_IJK.shape)
        to_image = np.linalg.inv(image.affine) @ affine
        if turned.shape == image.array_IJK.shape and _moved(to_image, turned.shape) <= TOLERANCE:
            return turned
    what, other = names
    how = " (nearest neighbour)" if what == "the label" else ""
    raise InputError(
        f"{where}: {what}'s grid is {_grid(label)}, but {other}'s is {_grid(image)}, and they are "
        "not one grid up to permuted and flipped axes; pair the right files, or resample "
        f"{what} to {other}'s grid with your own tool{how}."
    )


def _is_signed_permutation(matrix):
    ones = np.abs(matrix)
    return bool((ones.sum(axis=0) == 1).all() and (ones.sum(axis=1) == 1).all())


def _moved(to_image, shape):
    """Return the largest shift of a corner voxel along an axis, in voxels."""
    corners = np.array(list(product(*((0, length - 1) for length in shape))))
    return np.abs(corners @ to_image[:3, :3].T + to_image[:3, 3] - corners).max()


def _spacing(affine):
    return np.sqrt((affine[:3, :3] ** 2).sum(axis=0))


def _grid(volume):
    """Return shape, spacing, origin and direction of a grid in words."""
    spacing = _spacing(volume.affine)
    directions = (volume.affine[:3, :3] / spacing).T + 0.0
    return (
        f"{_times(volume.array_IJK.shape)} voxels of {_times(spacing)} mm from "
        f"({_row(volume.affine[:3, 3])}) along {', '.join(f'({_row(d)})' for d in directions)}"
    )


def _times(numbers):
    return " x ".join(f"{number:g}" for number in numbers)


def _row(numbers):
    return ", ".join(f"{number:.4g}" for number in np.round(numbers, 4) + 0.0)


def check_axes(path: str | Path, affine: np.ndarray) -> None:
    """Refuse a file whose affine (4, 4) does not span a volume.

    Raises:
        InputError: it is not finite, or has axes in one plane, of no length or of one that no
            scanner has.
    """
    spacing_3 = _spacing(affine)
    low, high = SPACINGS
    usable = np.isfinite(affine).all() and ((spacing_3 >= low) & (spacing_3 <= high)).all()
    # The volume of a voxel whose sides were 1 mm long: 1 if they are at right angles.
    if not usable or abs(np.linalg.det(affine[:3, :3] / spacing_3)) < 1e-3:
        raise InputError(
            f"{path} has no usable orientation (voxels of {_times(spacing_3)} mm), expected three "
            f"independent axes of {low:g} to {high:g} mm; repair the header or export the file "
            "again."
        )


def choose_channel(
    path: str | Path, shape: Sequence[int], channels: int, channel: int | None, key: str
) -> int:
    """Return which of the channels of a file to read, the only one if none is named.

    Args:
        shape: all axes of the file, for the message.
        channel: the one that the config names.
        key: the config's key that names it.

    Raises:
        InputError: there are several and none is named, or there is none of that number.
    """
    if (channel is None and channels > 1) or not 0 <= (channel or 0) < channels:
        raise InputError(
            f"{path} holds {channels} channels ({_times(shape)} voxels) and `{key}` is "
            f"{'not set' if channel is None else channel}, expected one of them; set `{key}`, "
            f"from 0 to {channels - 1}, or give the file with one channel."
        )
    return channel or 0
