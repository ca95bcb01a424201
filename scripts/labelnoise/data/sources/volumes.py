"""Volumes in world space: one orientation for all slices, labels on the image's grid, class values.

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
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import nibabel
import numpy as np
from nibabel.openers import ImageOpener
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError, ImageDataError
from nibabel.volumeutils import array_from_file
from nibabel.wrapstruct import WrapStructError

from labelnoise.data.sources import Classes
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
DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    MemoryError,
    zlib.error,
    nibabel.filebasedimages.ImageFileError,
    HeaderDataError,
    ImageDataError,
    WrapStructError,
)


@dataclass(frozen=True)
class Volume:
    """Voxels with their place in the world.

    Attributes:
        array_IJK: any number type, axes as stored.
        affine: (4, 4), voxel index to world mm; world axes point right, anterior and superior.
    """

    array_IJK: np.ndarray
    affine: np.ndarray


def labelled_slices(
    image: Volume,
    label: Volume,
    classes: Classes,
    where: str,
    ignore: Collection[int] = (),
    plane: str = "axial",
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the slices of an image and its label, as `Case.read` does.

    Args:
        where: the files, for messages.
        ignore: label values that become background.
        plane: see `resolve_plane`.

    Returns:
        images_SHW in the image's own number type, labels_SHW uint8 class indices, numbers_S from
        0, spacing_3 (slice, row, column) in mm.

    Raises:
        InputError: as `to_class_indices` and `match_grid`.
    """
    plane = resolve_plane(image, plane, where)
    indices = Volume(to_class_indices(label.array_IJK, classes, where, ignore), label.affine)
    matched = Volume(match_grid(image, indices, where), image.affine)
    images_SHW, spacing_3 = slices_of(image, plane)
    labels_SHW, _ = slices_of(matched, plane)
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


def match_grid(image: Volume, label: Volume, where: str) -> np.ndarray:
    """Return the label's array on the image's grid, by their affines; a view, never resampled.

    The grids must be one up to permuted and flipped axes: no corner voxel may lie more than
    `TOLERANCE` voxels of the image off, along any axis.

    Args:
        where: the files, for messages.

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
    raise InputError(
        f"{where}: the label's grid is {_grid(label)}, but the image's is {_grid(image)}, and they "
        "are not one grid up to permuted and flipped axes; pair the right files, or resample the "
        "label to the image's grid with your own tool (nearest neighbour)."
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


def to_class_indices(
    label_array: np.ndarray, classes: Classes, where: str, ignore: Collection[int] = ()
) -> np.ndarray:
    """Turn label values into class indices, one slab at a time.

    Args:
        label_array: whole numbers, of any type.
        classes: {name: values that mean it}, in the order of the class indices, no value twice; 0
            is background.
        where: the file, for messages.
        ignore: values that become background.

    Returns:
        uint8 class indices, 0 for background, of the same shape and memory order.

    Raises:
        InputError: a value is not whole or not known.
    """
    index_of = class_of_value(classes, ignore)
    table = np.full(max(index_of) + 3, 255, np.uint8)
    # Shifted by one: the first and last entries stand for all values below 0 and above the highest.
    table[np.array(list(index_of)) + 1] = list(index_of.values())
    indices = np.empty_like(label_array, np.uint8, subok=False)
    slowest = int(np.argmax(np.abs(label_array.strides)))
    strange = set()
    for values, slab in zip(
        np.moveaxis(label_array, slowest, 0), np.moveaxis(indices, slowest, 0), strict=True
    ):
        whole = _whole(values, where)
        slab[...] = table[np.clip(whole, -1, len(table) - 2) + 1]
        if slab.max(initial=0) == 255:
            strange |= set(np.unique(whole[slab == 255]).tolist())
    _refuse_strange(strange, index_of, where)
    return indices


def class_of_value(classes: Classes, ignore: Collection[int] = ()) -> dict[int, int]:
    """Map each known label value to its class index, 0 for background and ignored values."""
    index_of = dict.fromkeys([0, *ignore], 0)
    for index, values in enumerate(classes.values(), start=1):
        index_of |= dict.fromkeys(values, index)
    return index_of


def _whole(values, where):
    """Return values as int64; floats must be whole."""
    if values.dtype.kind in "biu":
        return values.astype(np.int64)
    if values.dtype.kind == "f":
        broken = ~np.isfinite(values) | (values != np.rint(values))
        if not broken.any():
            return values.astype(np.int64)
        found = ", ".join(f"{value:g}" for value in np.unique(values[broken])[:3])
    else:
        found = f"type {values.dtype}"
    raise InputError(
        f"{where}: the labels are not whole numbers ({found}), expected one whole number per "
        "voxel; export the labels without interpolation, or check that this is not an image."
    )


def _refuse_strange(strange, index_of, where):
    if strange:
        values = sorted(strange)
        found = ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")
        known = ", ".join(map(str, sorted(index_of)))
        raise InputError(
            f"{where}: it holds {len(values)} unknown label values ({found}), expected only "
            f"{known}; add them to a class of `classes`, or to `ignore` to make them background."
        )


def read_nifti(path: str | Path, channel: int | None = None) -> Volume:
    """Read a NIfTI file in the smallest number type that keeps its values.

    Stored numbers of up to 32 bits stay as they are, wider ones become float32; scaled ones become
    int16 where that is exact, else float32. The affine is the sform where it has a code, else the
    qform.

    Args:
        channel: which volume of a file with several, from 0.

    Raises:
        InputError: no NIfTI file, truncated, several channels without a choice, or no orientation.
    """
    try:
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Pair):
            raise ValueError(f"it is of type {type(image).__name__}")
        _check_place(path, image)
        array_IJK = _read_voxels(path, image, channel)
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(
            f"{path} cannot be read ({error or type(error).__name__}), expected a whole NIfTI "
            "file; download or export it again."
        ) from None
    return Volume(array_IJK, np.asarray(image.affine, np.float64))


def _check_place(path, image):
    header = image.header
    spacing = _spacing(image.affine)
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        raise InputError(
            f"{path} does not say how it lies in the patient (its sform and qform codes are 0), "
            "expected an orientation; export it again with one, for example through SimpleITK."
        )
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine)) < 1e-9:
        raise InputError(
            f"{path} has no usable orientation (voxels of {_times(spacing)} mm), expected three "
            "independent axes; repair the header's sform or export the file again."
        )


def _read_voxels(path, image, channel):
    proxy, shape = image.dataobj, image.shape
    if proxy.dtype.kind not in "iuf":
        raise InputError(
            f"{path} holds colour or complex voxels ({proxy.dtype}), expected one number per "
            "voxel; export a grey image."
        )
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) < 3 or len(shape) > 4 or 0 in shape:
        raise InputError(
            f"{path} has {_times(shape)} voxels, expected a volume of three axes; remove it."
        )
    channels = shape[3] if len(shape) == 4 else 1
    if (channel is None and channels > 1) or not 0 <= (channel or 0) < channels:
        raise InputError(
            f"{path} holds {channels} channels ({_times(shape)} voxels) and `channel` is "
            f"{'not set' if channel is None else channel}, expected one of them; set `channel`, "
            f"from 0 to {channels - 1}, or give the file with one channel."
        )
    stored = _read_whole(image.file_map["image"].filename, proxy)
    first = (channel or 0) * shape[2]
    stored_IJK = stored[..., first : first + shape[2]]
    return _scaled(stored_IJK, proxy.slope, proxy.inter)


def _read_whole(path, proxy):
    """Return the stored numbers (I, J, rest), doubles and 64-bit integers as float32.

    Read slab by slab, so that no volume of wide numbers is ever whole in memory, and to the end of
    the file, where gzip keeps its checksum.
    """
    shape_IJ, slabs = proxy.shape[:2], int(np.prod(proxy.shape[2:]))
    step = int(np.prod(shape_IJ)) * proxy.dtype.itemsize
    kept = proxy.dtype if proxy.dtype.itemsize <= 4 else np.float32
    stored = np.empty((*shape_IJ, slabs), kept, order="F")
    with ImageOpener(path) as file:
        for k in range(slabs):
            start = proxy.offset + k * step
            stored[..., k] = array_from_file(shape_IJ, proxy.dtype, file, start, mmap=False)
        while file.read(2**20):
            pass
    return stored


def _scaled(stored_IJK, slope, inter):
    """Apply slope and intercept slab by slab, so that no double copy of a volume exists."""
    if (slope, inter) == (1, 0):
        return stored_IJK
    scaled_IJK = np.empty(stored_IJK.shape, _scaled_type(stored_IJK, slope, inter), order="F")
    for k in range(stored_IJK.shape[2]):
        scaled_IJK[..., k] = stored_IJK[..., k] * np.float64(slope) + np.float64(inter)
    return scaled_IJK


def _scaled_type(stored_IJK, slope, inter):
    """Return int16 if it holds every scaled value, else float32."""
    if stored_IJK.dtype.kind == "f" or slope % 1 or inter % 1:
        return np.float32
    ends = [int(end) * slope + inter for end in (stored_IJK.min(), stored_IJK.max())]
    return np.int16 if min(ends) >= -(2**15) and max(ends) < 2**15 else np.float32
