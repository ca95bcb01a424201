"""Masks of new images by a trained network: a file in, a mask file on the same grid out.

A pixel is of the most probable structure if its probability is over the threshold, by default 0.5
as in every score, else background. Probabilities are brought to the image's own grid before that.

Mask values are the label values of the training data, where each structure has one that fits into
16 bits (`classes: {liver: [1]}`), else class indices, from 1 in the order of the structures.

Shape legend: I, J, K voxel axes of a file; S slices, K channels, C classes, H height, W width.
"""

import gzip
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labelnoise.counts import class_sizes
from labelnoise.errors import InputError
from labelnoise.files import whole_file
from labelnoise.training.checkpoints import TrainedNetwork
from labelnoise.training.memory import is_out_of_memory

logger = logging.getLogger(__name__)

VOLUME_SUFFIXES = (".nii.gz", ".nii")
PICTURE_SUFFIXES = (".png",)
THRESHOLD = 0.5
# What of a NIfTI header says where voxels lie.
PLACE = (
    *("dim_info", "pixdim", "xyzt_units", "qform_code", "sform_code"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z"),
)


@dataclass(frozen=True)
class Found:
    """What was predicted of one structure.

    Attributes:
        structure: its name.
        value: its value in the mask.
        pixels: how many are of it; voxels in a volume.
        millilitres: their volume; None for pictures.
    """

    structure: str
    value: int
    pixels: int
    millilitres: float | None


@dataclass(frozen=True)
class Image:
    """An image file as slices, and what writes a mask (S, H, W) of them to a file."""

    path: Path
    slices_SKHW: np.ndarray
    spacing_3: np.ndarray | None
    voxel_mm3: float | None
    write: Callable[[Path, np.ndarray], None]


def predict_file(
    network: TrainedNetwork,
    image: Path | str,
    mask: Path | str,
    *,
    threshold: float = THRESHOLD,
    batch_size: int = 8,
) -> list[Found]:
    """Segment an image file into a mask file of the same grid.

    A network of volumes takes a NIfTI file or a folder with one DICOM series, and writes a NIfTI
    mask of exactly its shape and place. A network of pictures (`source: images`) takes a picture
    and writes a PNG of its size.

    Args:
        network: see `load_run`.
        image: the file, in the units of the training data (HU for CT).
        mask: the file to write, .nii, .nii.gz or .png; replaced when the new one is whole.
        threshold: the probability over which a structure is taken, 0 to 1.
        batch_size: slices at a time.

    Returns:
        What was found of each structure, in their order.

    Raises:
        InputError: the image cannot be read, or does not fit the network's training, see
            `TrainedNetwork.predict`; the mask has another suffix, or would replace the image; the
            training read no files; or memory runs out.
    """
    image, mask = Path(image), Path(mask)
    check_mask(network, image, mask)
    opened = open_image(network, image)
    try:
        labels_SHW = decide(network, opened, threshold, batch_size)
    except InputError as error:
        raise InputError(f"{image}: {error}") from error
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(
            f"{image}: memory ran out with {batch_size} slices at a time; take fewer, or another "
            "device."
        ) from error
    structures = network.description["class_names"][1:]
    values = mask_values(structures, network.description["files"])
    counts = class_sizes(labels_SHW, len(structures) + 1)[1:].tolist()
    table = np.array([0, *values], np.uint8 if max(values) < 256 else np.uint16)
    opened.write(mask, table[labels_SHW])
    each_ml = None if opened.voxel_mm3 is None else opened.voxel_mm3 / 1000
    return [
        Found(name, value, count, None if each_ml is None else count * each_ml)
        for name, value, count in zip(structures, values, counts, strict=True)
    ]


def decide(network: TrainedNetwork, image: Image, threshold: float, batch_size: int) -> np.ndarray:
    """Return the class index of each pixel, (S, H, W); one batch of probabilities is in memory."""
    if not 0 < threshold < 1:
        raise InputError(f"the threshold is {threshold:g}, expected a probability between 0 and 1.")
    case = network.prepare(image.slices_SKHW, image.spacing_3)
    lost = 1 - case.grid.share_seen
    if lost > 0:
        logger.warning(
            "%s: %.1f %% of each slice lies beyond the field of view that the network was trained "
            "on, and is background",
            image.path,
            100 * lost,
        )
    classes = len(network.description["class_names"])
    slices, _, *shape_HW = image.slices_SKHW.shape
    labels_SHW = np.empty((slices, *shape_HW), np.uint8 if classes <= 256 else np.uint16)
    for rows, probabilities_NCHW in network.predict_prepared(case, batch_size):
        structures_NCHW = probabilities_NCHW[:, 1:]
        labels_SHW[rows] = structures_NCHW.argmax(axis=1) + 1
        labels_SHW[rows][structures_NCHW.max(axis=1) <= threshold] = 0
    return labels_SHW


def mask_values(structures: list[str], files: Mapping[str, Any]) -> list[int]:
    """Return the mask value of each structure: its own label value, or else its class index."""
    classes = files["classes"] or {}
    own = [classes.get(name, []) for name in structures]
    if all(len(values) == 1 and 0 < values[0] < 2**16 for values in own):
        return [int(values[0]) for values in own]
    return list(range(1, len(structures) + 1))


def suffixes(network: TrainedNetwork) -> tuple[str, ...]:
    """Return the suffixes that masks by a network may have, the usual one first.

    Raises:
        InputError: its dataset's source read no files that others could be read like, or volumes
            of several channels.
    """
    files, grid = network.description.get("files"), network.description.get("grid")
    if files is None or grid is None:
        raise InputError(
            "the checkpoint does not say how its training images were prepared, as it is of an "
            "older version; train it again, or give arrays to `load_run(...).predict`."
        )
    if files["source"] == "images":
        return PICTURE_SUFFIXES
    if grid["plane"] is None:
        raise InputError(
            f"the network was trained on `source: {files['source']}`, which does not say how "
            "slices of a file have to lie; give arrays to `load_run(...).predict`."
        )
    if len(network.channels) > 1:
        raise InputError(
            f"the network sees the channels {', '.join(network.channels)} of volumes, of which "
            "files are read one channel at a time; give arrays to `load_run(...).predict`."
        )
    return VOLUME_SUFFIXES


def check_mask(network: TrainedNetwork, image: Path, mask: Path) -> None:
    """Refuse a mask of another format, or in the place of the image.

    Raises:
        InputError: so it is, or `suffixes` refuses.
    """
    expected = suffixes(network)
    if not mask.name.endswith(expected):
        raise InputError(
            f"{mask}: the mask's name ends in {mask.suffix or 'no suffix'!r}, expected "
            f"{' or '.join(expected)}; rename it, or end the name of a folder with a slash."
        )
    if mask.is_dir():
        raise InputError(f"{mask} is a folder, expected a file to write; name another.")
    if image.exists() and mask.exists() and mask.samefile(image):
        raise InputError(f"{mask} is the image itself, which is not replaced; name another file.")


def open_image(network: TrainedNetwork, path: Path) -> Image:
    """Read an image file as the source of the training images was read.

    Raises:
        InputError: it is missing, or not whole, or of another format.
    """
    files = network.description["files"]
    if not path.exists():
        raise InputError(f"there is no {path}; name an image.")
    if files["source"] == "images":
        return _open_picture(network, path)
    return _open_volume(path, network.description["grid"]["plane"], files["channel"])


def _open_picture(network, path):
    from labelnoise.data.sources.images import read_image

    fitted = any(intensity.scale is None for intensity in network.intensities.values())
    if fitted and not network.description["files"]["one_slice"]:
        raise InputError(
            f"{path}: the network's dataset scales each case by all of its slices, of which a "
            "picture is one; give all of them, as an array, to `load_run(...).predict`."
        )
    if len(network.channels) == 1:
        slices_SKHW = read_image(path)[None, None]
    else:
        slices_SKHW = np.moveaxis(read_image(path, "rgb"), 2, 0)[None]
    return Image(path, slices_SKHW, None, None, _write_picture)


def _write_picture(path, mask_SHW):
    from PIL import Image as Pillow

    with whole_file(path) as temporary:
        Pillow.fromarray(mask_SHW[0]).save(temporary)


def _open_volume(path, plane, channel):
    """Read a volume's file, or the DICOM series in a folder; its mask is NIfTI."""
    import nibabel

    from labelnoise.data.sources.nifti_files import read_nifti
    from labelnoise.data.sources.volume_files import ENDINGS, read_volume
    from labelnoise.data.sources.volumes import resolve_plane, slices_of, volume_of

    if path.is_dir() or path.name.lower().endswith(tuple(set(ENDINGS) - set(VOLUME_SUFFIXES))):
        volume, shape = _read_series(path) if path.is_dir() else read_volume(path, channel), None
        if not volume.placed:
            raise InputError(
                f"{path} does not say how it lies in the patient, and a mask has to; give its "
                "slices to `load_run(...).predict`, or save it as NIfTI."
            )
        header = nibabel.Nifti1Header()
        header.set_sform(volume.affine, code="scanner")
        header.set_qform(volume.affine, code="scanner", strip_shears=True)
        header.set_xyzt_units("mm")
    else:
        # A file of one channel has none to choose, as those of nnU-Net have.
        shape, header = _read_header(path)
        volume = read_nifti(path, channel if len(shape) > 3 and shape[3] > 1 else None)
        # Trailing axes of length 1 are kept.
        shape = shape if np.prod(shape[3:]) == 1 else shape[:3]
    plane = resolve_plane(volume, plane, str(path))
    slices_SHW, spacing_3 = slices_of(volume, plane)

    def write(mask_path, mask_SHW):
        mask_IJK = volume_of(mask_SHW, volume.affine, plane)
        _write_nifti(mask_path, mask_IJK if shape is None else mask_IJK.reshape(shape), header)

    voxel_mm3 = abs(float(np.linalg.det(volume.affine[:3, :3])))
    return Image(path, slices_SHW[:, None], spacing_3, voxel_mm3, write)


def _read_header(path):
    """Return the shape of a NIfTI file, and a header that holds its place and nothing else."""
    import nibabel

    from labelnoise.data.sources.nifti_files import DAMAGED

    try:
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Pair):
            raise ValueError(f"it is of type {type(image).__name__}")
        known = image.header
        wide = isinstance(known, nibabel.nifti2.Nifti2Header)
        header = nibabel.Nifti2Header() if wide else nibabel.Nifti1Header()
        for name in PLACE:
            header[name] = known[name]
    except DAMAGED as error:
        raise InputError(
            f"{path} cannot be read ({error or type(error).__name__}), expected a whole NIfTI "
            "file, or a folder with one DICOM series."
        ) from None
    return image.shape, header


def _read_series(folder):
    """Read the one DICOM series below a folder."""
    from labelnoise.data.sources.dicom_headers import scan
    from labelnoise.data.sources.dicom_series import arrange, read_series

    found = scan(folder)
    numbers = {slice_.series for slice_ in found.slices}
    if len(numbers) != 1:
        raise InputError(
            f"{folder} holds {len(numbers)} DICOM series ({found.words()}), expected one; name the "
            "folder of a single series."
        )
    return read_series(arrange(found.slices, found.unplaced[numbers.pop()]))


def _write_nifti(path, mask, header):
    """Write a mask of a header's place; equal masks give equal bytes."""
    import nibabel

    wide = isinstance(header, nibabel.Nifti2Header)
    header = header.copy()
    header.set_data_dtype(mask.dtype)
    image = (nibabel.Nifti2Image if wide else nibabel.Nifti1Image)(mask, None, header)
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        if not path.name.endswith(".gz"):
            image.to_stream(file)
            return
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
            image.to_stream(packed)
