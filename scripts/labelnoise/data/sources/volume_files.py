"""Files that hold a volume, by their ending: NIfTI, NRRD, MetaImage and .npy.

A .npy file says neither how it lies in the patient nor how large its voxels are. Its axes are taken
as slices from inferior to superior, rows from anterior to posterior and columns from the patient's
right to left, then channels if there is a fourth; its spacing is unknown, so distances are in
pixels.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from labelnoise.data.sources import Classes
from labelnoise.data.sources.nifti_files import read_channels, read_nifti
from labelnoise.data.sources.npy_files import open_npy
from labelnoise.data.sources.raw_files import read_raw
from labelnoise.data.sources.volumes import (
    Volume,
    channel_slices,
    choose_channel,
    labelled_slices,
    resolve_plane,
)
from labelnoise.errors import InputError

# A file, and the channel in it where it has several.
Part = tuple[Path, int | None]

RAW_ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")
ENDINGS = (".nii.gz", ".nii", *RAW_ENDINGS, ".npy")
UNPLACED = (
    ".npy files taken as axial slices, rows and columns, pixels and slices being of unknown size"
)
# Columns run to the left, rows to the back and slices up, each by 1.
UNPLACED_AFFINE = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)


def read_volume(path: str | Path, channel: int | None = None, key: str = "channel") -> Volume:
    """Read a volume in the smallest number type that keeps its values.

    Args:
        channel: which channel of a file with several, from 0.
        key: the config's key that names it, for messages.

    Raises:
        InputError: the file is damaged or of another format, has several channels without a choice,
            or a format that has orientations but none in this file.
    """
    ending = Path(path).suffix.lower()
    if ending in RAW_ENDINGS:
        return read_raw(path, channel, key)
    if ending == ".npy":
        return _read_npy(path, channel, key)
    return read_nifti(path, channel, key)


def read_pair(
    images: Part | Sequence[Part],
    label_path: Path,
    classes: Classes,
    ignore: Collection[int] = (),
    others: str = "refuse",
    label_channel: int | None = None,
    plane: str = "axial",
) -> tuple:
    """Read an image and its label as slices, as `Case.read` does.

    Args:
        images: the file and, where it has several, the channel in it; or these of each channel, of
            which the first one's grid is that of all.
        label_channel: channel of the label, where it has several.
        plane: axial, sagittal, coronal or acquired, see `volumes.resolve_plane`.

    Raises:
        InputError: as `read_volume`, `labelled_slices` and `channel_slices`.
    """
    parts = [images] if isinstance(images, tuple) else images
    volumes = _read_parts(parts)
    label = read_volume(label_path, label_channel, "label_channel")
    where = f"{label_path}, label of {parts[0][0]}"
    plane = resolve_plane(volumes[0], plane, where)
    images_SHW, *more = labelled_slices(volumes[0], label, classes, where, ignore, others, plane)
    if isinstance(images, tuple):
        return images_SHW, *more
    return channel_slices(volumes, [str(path) for path, _ in parts], plane), *more


def strip_ending(name: str) -> str:
    """Return a file's name without the ending of its format."""
    return next((name.removesuffix(end) for end in ENDINGS if name.endswith(end)), name)


def _read_parts(parts):
    """Return the volume of each channel; a NIfTI file with several of them is read once."""
    channels_of = defaultdict(list)
    for path, channel in parts:
        channels_of[path].append(channel)
    volumes = {}
    for path, channels in channels_of.items():
        if path.suffix.lower() in (*RAW_ENDINGS, ".npy"):
            found = [read_volume(path, channel) for channel in channels]
        else:
            found = read_channels(path, channels)
        volumes |= {(path, channel): one for channel, one in zip(channels, found, strict=True)}
    return [volumes[part] for part in parts]


def _read_npy(path, channel, key):
    stored = open_npy(path)
    shape = stored.shape
    if len(shape) not in (3, 4) or 0 in shape:
        raise InputError(
            f"{path} has shape {shape}, expected (slices, rows, columns) or these and channels; "
            "save it again with these axes."
        )
    channels = shape[3] if len(shape) == 4 else 1
    channel = choose_channel(path, shape, channels, channel, key)
    chosen = stored[..., channel] if len(shape) == 4 else stored
    kept = chosen.dtype.newbyteorder("=") if chosen.dtype.itemsize <= 4 else np.float32
    return Volume(np.array(chosen, kept), UNPLACED_AFFINE, placed=False)
