"""Label files that are written as they were read: the numbers of pixels change, nothing else does.

NIfTI, NRRD and MetaImage keep every byte of their header but those that would be wrong: the size of
compressed voxels, the file of voxels that lay apart, and the extents of 3D Slicer's segments.
Pictures (PNG, TIFF, BMP) keep mode, palette, resolution and compression. Equal labels give equal
bytes.

Shape legend: I, J, K voxel axes of a file, the fastest first; S slices, H rows, W columns.
"""

import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from nibabel.openers import ImageOpener
from PIL import Image

from labelnoise.data.sources.folders import check_file
from labelnoise.data.sources.images import open_picture, read_image, read_mask
from labelnoise.data.sources.label_values import whole_numbers
from labelnoise.data.sources.raw_files import is_nrrd, read_header
from labelnoise.data.sources.volume_files import read_volume
from labelnoise.data.sources.volumes import (
    Volume,
    match_grid,
    resolve_plane,
    slices_of,
    volume_of,
)
from labelnoise.errors import InputError
from labelnoise.files import whole_file

# Endings of one format, of which those in the first tuple are written.
FORMATS = (
    ((".nii.gz", ".nii"), ()),
    ((".nrrd",), (".nhdr",)),
    ((".mha",), (".mhd",)),
    ((".png",), ()),
    ((".tif", ".tiff"), ()),
    ((".bmp",), ()),
)
ENDINGS = tuple(end for written, read in FORMATS for end in (*written, *read))
PICTURES = (".png", ".tif", ".tiff", ".bmp")
# Voxels of 64 bits are read as float32, which holds whole numbers below this.
LARGEST_OF_WIDE = 2**24
# What a TIFF says of itself: description, resolution along both axes, its unit.
TIFF_TAGS = (270, 282, 283, 296)
GZIP_LEVEL = 6


@dataclass(frozen=True)
class LabelImage:
    """A label file as slices.

    Attributes:
        path: the file.
        values_SHW: label values, whole numbers.
        spacing_3: distance of slices, rows and columns in mm; NaN where the file does not say.
        volume: the same, as the file holds it; None of a picture.
        plane: of a volume's slices.
    """

    path: Path
    values_SHW: np.ndarray
    spacing_3: np.ndarray
    volume: Volume | None
    plane: str
    _write: Callable[[Path, np.ndarray], None]

    def write(self, path: Path, values_SHW: np.ndarray) -> None:
        """Write other labels to a file of the same header; see `check_output`.

        Args:
            values_SHW: label values that occur in this file, of its shape.

        Raises:
            ValueError: they have another shape.
        """
        if values_SHW.shape != self.values_SHW.shape:
            raise ValueError(f"labels {values_SHW.shape} for {self.values_SHW.shape} of {path}")
        self._write(path, values_SHW)

    def read_images(self, path: Path) -> np.ndarray:
        """Read the image of these labels.

        Args:
            path: a volume on the grid of the labels up to permuted and flipped axes, or a picture
                of their size, of which colour becomes luminance.

        Returns:
            (S, H, W), any number type.

        Raises:
            InputError: it cannot be read, is on another grid, or holds NaN or infinity.
        """
        if self.volume is None:
            images_SHW = read_image(path)[None]
            if images_SHW.shape != self.values_SHW.shape:
                raise InputError(
                    f"{path} is {_times(images_SHW.shape[1:])} pixels (height x width), but its "
                    f"labels {self.path} are {_times(self.values_SHW.shape[1:])}; pair the right "
                    "files."
                )
        else:
            images, names = read_volume(path), ("the image", "its label")
            array_IJK = match_grid(self.volume, images, f"{path}, image of {self.path}", names)
            images_SHW, _ = slices_of(Volume(array_IJK, self.volume.affine), self.plane)
        if not np.isfinite(images_SHW).all():
            raise InputError(f"{path} holds NaN or infinity, expected finite values; correct it.")
        return images_SHW


def read_labels(path: Path, plane: str = "acquired") -> LabelImage:
    """Read a label file.

    Args:
        path: NIfTI, NRRD, MetaImage, or a picture, which is one slice.
        plane: of the slices of a volume, see `volumes.resolve_plane`.

    Raises:
        InputError: the file is missing, damaged, of another format, no label map of one channel, or
            its numbers are not whole.
    """
    ending_of(path)
    check_file(path, "a label file")
    if path.name.lower().endswith(PICTURES):
        return _read_picture(path)
    return _read_volume(path, plane)


def ending_of(path: Path) -> str:
    """Return the ending of a label file's name, as written in ENDINGS.

    Raises:
        InputError: it is none of them.
    """
    for ending in ENDINGS:
        if path.name.lower().endswith(ending):
            return ending
    raise InputError(
        f"{path} ends in {path.suffix or 'no suffix'!r}, expected a label file, one of "
        f"{', '.join(ENDINGS)}; convert it, or correct the name."
    )


def output_name(name: str) -> str:
    """Return the name that a label file has once written: .nrrd for .nhdr, .mha for .mhd."""
    for written, read in FORMATS:
        for ending in read:
            if name.lower().endswith(ending):
                return name[: -len(ending)] + written[0]
    return name


def check_output(path: Path, output: Path) -> None:
    """Refuse to write the labels of a file to another format, or in its place.

    Raises:
        InputError: so it is.
    """
    ending = ending_of(path)
    written = next(written for written, read in FORMATS if ending in (*written, *read))
    if not output.name.lower().endswith(written):
        raise InputError(
            f"{output} ends in {output.suffix or 'no suffix'!r}, expected {' or '.join(written)}, "
            f"the format of {path.name}, whose header is kept; rename it, or end the name of a "
            "folder with a slash."
        )
    if output.is_dir():
        raise InputError(f"{output} is a folder, expected a file to write; name another.")
    if output.exists() and output.samefile(path):
        raise InputError(f"{output} is the input itself, which is not replaced; name another file.")


def _read_volume(path, plane):
    is_nifti = ending_of(path) in (".nii.gz", ".nii")
    volume = read_volume(path)
    header, dtype, slope, inter, pack = _nifti_form(path) if is_nifti else _raw_form(path)
    values_IJK = _whole(volume.array_IJK, path)
    if dtype.itemsize > 4 and values_IJK.max(initial=0) >= LARGEST_OF_WIDE:
        raise InputError(
            f"{path} holds the label value {values_IJK.max()}, expected at most "
            f"{LARGEST_OF_WIDE - 1} in numbers of 64 bits; renumber its labels."
        )
    plane = resolve_plane(volume, plane, str(path))
    volume = Volume(values_IJK, volume.affine)
    values_SHW, spacing_3 = slices_of(volume, plane)

    def write(target, wrong_SHW):
        wrong_IJK = volume_of(wrong_SHW, volume.affine, plane)
        with whole_file(target) as temporary, open(temporary, "wb") as file:
            pack(file, target, header, _stored(wrong_IJK, dtype, slope, inter))

    return LabelImage(path, values_SHW, spacing_3, volume, plane, write)


def _whole(array_IJK, path):
    """Return label values as whole numbers of at most 32 bits."""
    if array_IJK.dtype.kind in "biu":
        return array_IJK
    whole_IJK = np.empty(array_IJK.shape, np.int32, order="F")
    for k in range(array_IJK.shape[2]):
        whole_IJK[..., k] = whole_numbers(array_IJK[..., k], str(path))
    return whole_IJK


def _stored(values_IJK, dtype, slope, inter) -> Iterator[bytes]:
    """Yield the bytes of a file's voxels, slab by slab."""
    for k in range(values_IJK.shape[2]):
        slab_IJ = values_IJK[..., k]
        if (slope, inter) != (1, 0):
            slab_IJ = (slab_IJ - np.float64(inter)) / slope
            slab_IJ = slab_IJ if dtype.kind == "f" else np.rint(slab_IJ)
        yield slab_IJ.astype(dtype).tobytes(order="F")


def _nifti_form(path):
    """Return the bytes before the voxels, the type and scale of these, and what writes them."""
    proxy = nibabel.load(path).dataobj
    with ImageOpener(path) as file:
        header = file.read(proxy.offset)
    return header, proxy.dtype, proxy.slope, proxy.inter, _write_nifti


def _write_nifti(file, target, header, slabs):
    if target.name.lower().endswith(".gz"):
        _gzip(file, [header, *slabs])
        return
    file.write(header)
    file.writelines(slabs)


def _gzip(file, parts: Iterable[bytes]):
    """Write parts as one gzip stream, without the time, so that equal ones are equal bytes."""
    with gzip.GzipFile("", "wb", GZIP_LEVEL, fileobj=file, mtime=0) as packed:
        for part in parts:
            packed.write(part)


def _raw_form(path):
    """Return header, type, scale (none) and writer, as `_nifti_form` does."""
    header = read_header(path)
    with open(path, "rb") as file:
        text = file.read(header.start if header.data == path else -1)
    if is_nrrd(path):
        return _nrrd_text(text, header, path), header.dtype, 1, 0, _nrrd_writer(header)
    return _meta_text(text, header, path), header.dtype, 1, 0, _meta_writer(header)


def _nrrd_text(text, header, path):
    """Return a header that voxels follow."""
    if header.data != path:
        text = re.sub(rb"(?im)^data ?file:[^\n]*\n?", b"", text).rstrip(b"\r\n") + b"\n\n"
    # 3D Slicer clips a segment to its extent, beyond which it may have grown.
    space = [size for axis, size in enumerate(header.size) if axis != header.channel_axis]
    extent = " ".join(f"0 {count - 1}" for count in space).encode()
    return re.sub(rb"(?m)^(Segment\d+_Extent:=)[^\r\n]*", rb"\g<1>" + extent, text)


def _nrrd_writer(header):
    def write(file, target, text, slabs):
        file.write(text)
        if header.compressed:
            _gzip(file, slabs)
        else:
            file.writelines(slabs)

    return write


def _meta_text(text, header, path):
    if header.data == path:
        return text
    text = re.sub(rb"(?im)^ElementDataFile\s*=[^\n]*\n?", b"", text)
    return text.rstrip(b"\r\n") + b"\nElementDataFile = LOCAL\n"


def _meta_writer(header):
    def write(file, target, text, slabs):
        if header.compressed:
            packer = zlib.compressobj(GZIP_LEVEL)
            slabs = [*map(packer.compress, slabs), packer.flush()]
            size = b"CompressedDataSize = %d" % sum(map(len, slabs))
            text = re.sub(rb"(?im)^CompressedDataSize\s*=[^\r\n]*", size, text)
        file.write(text)
        file.writelines(slabs)

    return write


def _read_picture(path):
    picture, _ = open_picture(path)
    values_HW = read_mask(path)
    values_SHW = _whole(values_HW[None], path)

    def write(target, wrong_SHW):
        with whole_file(target) as temporary:
            painted = _painted(picture, wrong_SHW[0].astype(values_HW.dtype))
            painted.save(temporary, format=picture.format, **_kept(picture))

    return LabelImage(path, values_SHW, np.full(3, np.nan), None, "", write)


def _painted(picture, values_HW):
    """Return a picture of the same mode, with other values."""
    if picture.mode == "1":
        return Image.fromarray(values_HW > 0)
    if picture.mode in ("RGB", "RGBA", "LA"):
        levels_HWC = np.array(picture)
        colours = levels_HWC.shape[2] - picture.mode.endswith("A")
        levels_HWC[..., :colours] = values_HW[..., None]
        # What was transparent shows its structure.
        levels_HWC[..., colours:][values_HW != 0] = 255
        return Image.fromarray(levels_HWC, picture.mode)
    order = ">" if picture.mode == "I;16B" else "<"
    stored_HW = values_HW.astype(values_HW.dtype.newbyteorder(order))
    painted = Image.frombytes(picture.mode, picture.size, stored_HW.tobytes())
    if picture.mode == "P":
        painted.putpalette(picture.getpalette("RGB"), "RGB")
    return painted


def _kept(picture):
    """Return what a picture's file says beside its pixels, as `save` takes it."""
    names = ("dpi", "transparency", "icc_profile", "compression")
    kept = {name: picture.info[name] for name in names if name in picture.info}
    if picture.format == "TIFF":
        kept["tiffinfo"] = {tag: picture.tag_v2[tag] for tag in TIFF_TAGS if tag in picture.tag_v2}
        kept.pop("dpi", None)
    return kept


def _times(numbers):
    return " x ".join(map(str, numbers))
