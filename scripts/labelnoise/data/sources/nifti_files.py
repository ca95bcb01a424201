"""NIfTI files, read slab by slab and to the end, where gzip keeps its checksum.

Shape legend: I, J, K voxel axes of the file.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError, ImageDataError
from nibabel.volumeutils import array_from_file
from nibabel.wrapstruct import WrapStructError

from labelnoise.data.sources.volumes import Volume, check_axes, choose_channel
from labelnoise.errors import InputError, reason

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


def read_nifti(path: str | Path, channel: int | None = None, key: str = "channel") -> Volume:
    """Read one channel of a NIfTI file, see `read_channels`.

    Args:
        channel: which volume of a file with several, from 0; None is the only one.
    """
    return read_channels(path, [channel], key)[0]


def read_channels(
    path: str | Path, channels: Sequence[int | None], key: str = "channel"
) -> list[Volume]:
    """Read channels of a NIfTI file, at once, in the smallest number type that keeps their values.

    Stored numbers of up to 32 bits stay as they are, wider ones become float32; scaled ones become
    int16 where that is exact, else float32. The affine is the sform where it has a code, else the
    qform.

    Args:
        channels: which volumes of a file with several, from 0; None is the only one.
        key: the config's key that names it, for messages.

    Raises:
        InputError: no NIfTI file, truncated, several channels without a choice, or no orientation.
    """
    try:
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Pair):
            raise ValueError(f"it is of type {type(image).__name__}")
        _check_place(path, image)
        arrays = _read_voxels(path, image, channels, key)
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(
            f"{path} cannot be read ({reason(error)}), expected a whole NIfTI "
            "file; download or export it again."
        ) from None
    return [Volume(array_IJK, np.asarray(image.affine, np.float64)) for array_IJK in arrays]


def _check_place(path, image):
    header = image.header
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        raise InputError(
            f"{path} does not say how it lies in the patient (its sform and qform codes are 0), "
            "expected an orientation; export it again with one, for example through SimpleITK."
        )
    check_axes(path, image.affine)


def _read_voxels(path, image, channels, key):
    """Return the voxels (I, J, K) of each of the channels."""
    proxy, shape = image.dataobj, image.shape
    if proxy.dtype.kind not in "iuf":
        raise InputError(
            f"{path} holds colour or complex voxels ({proxy.dtype}), expected one number per "
            "voxel; export a grey image."
        )
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 5 and shape[3] == 1:
        # Vectors, which NIfTI puts on the fifth axis, at one time.
        shape = (*shape[:3], shape[4])
    if len(shape) < 3 or len(shape) > 4 or min(shape) < 1:
        raise InputError(
            f"{path} has {' x '.join(map(str, shape))} voxels, expected a volume of three axes; "
            "remove it."
        )
    held = shape[3] if len(shape) == 4 else 1
    chosen = [choose_channel(path, shape, held, channel, key) for channel in channels]
    stored = _read_whole(image.file_map["image"].filename, proxy)
    parts = [stored[..., number * shape[2] : (number + 1) * shape[2]] for number in chosen]
    return [_scaled(stored_IJK, proxy.slope, proxy.inter) for stored_IJK in parts]


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
