"""NRRD (.nrrd, .nhdr) and MetaImage (.mha, .mhd): a header of text, and raw or compressed numbers.

Read here and not by ITK, which dies of damaged headers and does not look at checksums of compressed
voxels. Formats: https://teem.sourceforge.net/nrrd/format.html and the documentation of MetaIO in
ITK. Their world axes are converted to those of `Volume`: right, anterior and superior, in mm.

Left out: voxels as text or bzip2, voxels in several files, and data files with a header of their
own.

Shape legend: I, J, K voxel axes of the file, the fastest first.
"""

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from labelnoise.data.sources.folders import check_file
from labelnoise.data.sources.volumes import Volume, check_axes, choose_channel
from labelnoise.errors import InputError, reason

DAMAGED = (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error)
# Far above any header. 3D Slicer keeps names and colours of its segments there.
LONGEST_HEADER = 2**24
BLOCK = 2**20
# Bytes that deflate makes of one at most.
BEST_COMPRESSION = 1032
GZIP = b"\x1f\x8b"
# Signs that turn the axes of NRRD's anatomical spaces to right, anterior and superior.
SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
}
SPACES |= {"".join(word[0] for word in name.split("-")): SPACES[name] for name in list(SPACES)}
NRRD_TYPES = {
    "signed char": "i1",
    "uchar": "u1",
    "unsigned char": "u1",
    **{f"{sign}short{int_}": "i2" for sign in ("", "signed ") for int_ in ("", " int")},
    **{name: "u2" for name in ("ushort", "unsigned short", "unsigned short int")},
    **{name: "i4" for name in ("int", "signed int")},
    **{name: "u4" for name in ("uint", "unsigned int")},
    **{f"{sign}long long{int_}": "i8" for sign in ("", "signed ") for int_ in ("", " int")},
    **{name: "u8" for name in ("ulonglong", "unsigned long long", "unsigned long long int")},
    **{"longlong": "i8", "float": "f4", "double": "f8"},
    **{
        f"{name}{bits}{end}": f"{name[0]}{bits // 8}"
        for name in ("int", "uint")
        for bits in (8, 16, 32, 64)
        for end in ("", "_t")
    },
}
META_TYPES = {
    "met_char": "i1",
    "met_uchar": "u1",
    "met_short": "i2",
    "met_ushort": "u2",
    "met_int": "i4",
    "met_uint": "u4",
    # Of four bytes wherever the file was written.
    "met_long": "i4",
    "met_ulong": "u4",
    "met_long_long": "i8",
    "met_ulong_long": "u8",
    "met_float": "f4",
    "met_double": "f8",
}
META_ORDER = ("binarydatabyteordermsb", "elementbyteordermsb")
YES_OR_NO = {"true": True, "false": False}


@dataclass(frozen=True)
class Header:
    """What a header says.

    Attributes:
        size: numbers along each axis, the fastest first.
        channel_axis: the one of four that holds channels, or None.
        affine: (4, 4) of the other three, to RAS mm.
        dtype: of one number, in the file's byte order.
        data: the file of the voxels, which may be the header's own.
        start: where they begin in it, in bytes.
        compressed: whether they are, by zlib or gzip.
    """

    size: tuple[int, ...]
    channel_axis: int | None
    affine: np.ndarray
    dtype: np.dtype
    data: Path
    start: int
    compressed: bool


def read_raw(path: str | Path, channel: int | None = None, key: str = "channel") -> Volume:
    """Read a NRRD or MetaImage file of three axes, or one channel of it.

    Channels are a fourth axis or several numbers per voxel. Stored numbers of up to 32 bits stay as
    they are, wider ones become float32. A segmentation of 3D Slicer (.seg.nrrd) whose segments do
    not overlap is one label map; overlapping ones lie in layers, which are its channels.

    Args:
        channel: which channel of a file with several, from 0.
        key: the config's key that names it, for messages.

    Raises:
        InputError: another format or one of its rare forms, damaged, truncated, without a place in
            the patient, or several channels without a choice.
    """
    path = Path(path)
    with _whole(path):
        header = read_header(path)
        array_IJK = _read_voxels(header, _choose_channel(path, header, channel, key))
    return Volume(array_IJK, header.affine)


def read_header(path: Path) -> Header:
    """Read what the header of a NRRD or MetaImage file says.

    Raises:
        InputError: see `read_raw`.
    """
    with _whole(path):
        header = _read_nrrd_header(path) if is_nrrd(path) else _read_meta_header(path)
        check_axes(path, header.affine)
    return header


def is_nrrd(path: Path) -> bool:
    """Return whether the ending of a file is one of NRRD, not of MetaImage."""
    return path.suffix.lower() in (".nrrd", ".nhdr")


@contextmanager
def _whole(path):
    """Refuse a file in the reading of which something fails."""
    try:
        yield
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(
            f"{path} cannot be read ({reason(error)}), expected a whole "
            f"{'NRRD' if is_nrrd(path) else 'MetaImage'} file; download or export it again."
        ) from None


def _read_nrrd_header(path):
    fields: dict[str, str] = {}
    with open(path, "rb") as file:
        if not re.fullmatch(rb"NRRD000\d\s*", file.readline(16)):
            raise ValueError("it does not begin with NRRD")
        for line in _lines(file):
            if not line:
                break
            name, colon, value = line.partition(":")
            # A field is `name: value`; `name:=value` is of the user's own.
            if colon and not value.startswith("=") and not name.startswith("#"):
                fields[_plain(name)] = value.strip()
        start = file.tell()
    compressed = _known(fields, "encoding", {"raw": False, "gzip": True, "gz": True})
    for name in ("lineskip", "byteskip"):
        if fields.get(name, "0") != "0":
            raise ValueError(f"its {name} is {fields[name]}, not 0")
    size = _size(fields, "sizes", "dimension")
    affine, channel_axis = _nrrd_place(path, fields, len(size))
    dtype = np.dtype(_known(fields, "type", NRRD_TYPES))
    if dtype.itemsize > 1:
        dtype = dtype.newbyteorder(_known(fields, "endian", {"little": "<", "big": ">"}))
    data, start = _located(path, fields.get("datafile"), start)
    return Header(size, channel_axis, affine, dtype, data, start, compressed)


def _nrrd_place(path, fields, dimension):
    """Return the affine, and which axis is none of space."""
    space = fields.get("space", "not given").lower()
    if space not in SPACES or "spacedirections" not in fields:
        raise InputError(
            f"{path} does not say how it lies in the patient (its space is {space}), expected "
            "`space: left-posterior-superior` or the like with space directions; export it again "
            "with them, for example from 3D Slicer."
        )
    axes = re.findall(r"none|\([^()]*\)", fields["spacedirections"])
    others = [number for number, axis in enumerate(axes) if axis == "none"]
    if len(axes) != dimension or len(others) != dimension - 3:
        raise ValueError(f"its space directions are {fields['spacedirections']}")
    affine = np.eye(4)
    affine[:3, :3] = np.transpose([_vector(axis) for axis in axes if axis != "none"])
    affine[:3, 3] = _vector(fields.get("spaceorigin", "(0,0,0)"))
    affine[:3] *= np.array(SPACES[space])[:, None]
    return affine, others[0] if others else None


def _vector(text):
    return _numbers(text.strip().removeprefix("(").removesuffix(")").replace(",", " "), 3)


def _read_meta_header(path):
    fields: dict[str, str] = {}
    with open(path, "rb") as file:
        for line in _lines(file):
            name, equals, value = line.partition("=")
            if not equals:
                raise ValueError("it does not begin with lines such as NDims = 3")
            fields[_plain(name)] = value.strip()
            if _plain(name) == "elementdatafile":
                break
        start = file.tell()
    for name, usual in (("headersize", "0"), ("binarydata", "true")):
        if fields.get(name, usual).lower() != usual:
            raise ValueError(f"its {name} is {fields[name]}, not {usual}")
    size = _size(fields, "dimsize", "ndims")
    affine = _meta_place(path, fields, len(size))
    channels = int(fields.get("elementnumberofchannels", "1"))
    if channels != 1 and len(size) == 4:
        raise ValueError(f"it has four axes and {channels} channels")
    channel_axis = 3 if len(size) == 4 else None
    if channels != 1:
        size, channel_axis = (channels, *size), 0
    order = next((key for key in META_ORDER if key in fields), None)
    dtype = np.dtype(_known(fields, "elementtype", META_TYPES))
    if order:
        dtype = dtype.newbyteorder(_known(fields, order, {"false": "<", "true": ">"}))
    compressed = "compresseddata" in fields and _known(fields, "compresseddata", YES_OR_NO)
    data = _field(fields, "elementdatafile")
    data, start = _located(path, None if data.upper() == "LOCAL" else data, start)
    return Header(size, channel_axis, affine, dtype, data, start, compressed)


def _meta_place(path, fields, dimension):
    """Return the affine; a file without directions lies along left, posterior, superior."""
    spacing = _first(fields, ("elementspacing", "elementsize"), None)
    if spacing is None:
        raise InputError(
            f"{path} does not say how large its voxels are (it has no ElementSpacing), expected mm "
            "along each axis; export it again with them, for example through SimpleITK."
        )
    upright = " ".join(map(str, np.eye(dimension).ravel()))
    directions = _first(fields, ("transformmatrix", "rotation", "orientation"), upright)
    origin = _first(fields, ("offset", "origin", "position"), "0 " * dimension)
    # Row by row, the axes of the file.
    axes = _numbers(directions, dimension**2).reshape(dimension, dimension)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = axes.T * _numbers(spacing, dimension)[:3]
    affine[:3, 3] = _numbers(origin, dimension)[:3]
    affine[:2] *= -1
    return affine


def _first(fields, names, default):
    return next((fields[name] for name in names if name in fields), default)


def _lines(file: BinaryIO) -> Iterator[str]:
    """Yield the lines of a header."""
    left = LONGEST_HEADER
    while line := file.readline(left):
        left -= len(line)
        if left <= 0:
            raise ValueError(f"its header is longer than {LONGEST_HEADER} bytes")
        yield line.decode("utf-8", "replace").strip()


def _plain(name):
    return name.replace(" ", "").lower()


def _numbers(text, count):
    values = np.array([float(word) for word in text.split()])
    if len(values) != count:
        raise ValueError(f"{text[:100]!r} is not {count} numbers")
    return values


def _size(fields, name, dimension):
    size, axes = _field(fields, name), _field(fields, dimension)
    counts = tuple(int(word) for word in size.split())
    if axes not in ("3", "4") or len(counts) != int(axes) or min(counts) < 1:
        raise ValueError(f"it has {axes[:20]} axes of {size[:100]} voxels, expected three")
    return counts


def _field(fields, name):
    if name not in fields:
        raise ValueError(f"its header has no {name}")
    return fields[name]


def _known(fields, name, meanings):
    """Return what the value of a field means."""
    value = _field(fields, name).lower()
    if value not in meanings:
        raise ValueError(f"its {name} is {value[:100]}, not one of {', '.join(meanings)}")
    return meanings[value]


def _located(path, data, start):
    """Return the file of the voxels and where they begin: after the header, or in another file."""
    if data is None:
        return path, start
    if re.match(r"LIST\b", data) or "%" in data:
        raise ValueError("its voxels are in several files, not in one")
    place = path.parent / data
    check_file(place, f"the voxels of {path.name}")
    return place, 0


def _choose_channel(path, header, channel, key):
    channels = 1 if header.channel_axis is None else header.size[header.channel_axis]
    if channels > 1 and channel is None and path.name.lower().endswith(".seg.nrrd"):
        raise InputError(
            f"{path} holds segments that overlap, in {channels} layers, expected one label map; "
            f"export it from 3D Slicer as a label map, or set `{key}` to one of the layers, from 0 "
            f"to {channels - 1}."
        )
    return choose_channel(path, header.size, channels, channel, key)


def _read_voxels(header, channel):
    """Return one channel (I, J, K), read slab by slab, so that no wide copy is ever whole."""
    slabs, *rest = header.size[::-1]
    slab_bytes = int(np.prod(rest, dtype=object)) * header.dtype.itemsize
    _check_room(header, slabs * slab_bytes)
    # The axis of channels, counted from the slowest.
    axis = None if header.channel_axis is None else len(rest) - header.channel_axis
    kept = header.dtype.newbyteorder("=") if header.dtype.itemsize <= 4 else np.float32
    shape_KJI = [count for number, count in enumerate((slabs, *rest)) if number != axis]
    chosen_KJI = np.empty(shape_KJI, kept)
    with open(header.data, "rb") as file:
        file.seek(header.start)
        source = Inflated(file) if header.compressed else file
        for number in range(slabs):
            slab = np.frombuffer(source.read(slab_bytes), header.dtype).reshape(rest)
            if axis is None:
                chosen_KJI[number] = slab
            elif axis > 0:
                chosen_KJI[number] = slab.take(channel, axis - 1)
            elif number == channel:
                chosen_KJI[...] = slab
        if header.compressed and source.read(1):
            raise ValueError("it holds more compressed voxels than its header says")
    return chosen_KJI.transpose()


def _check_room(header, expected):
    """Refuse a header that claims more bytes than its data can hold, before any memory is taken."""
    found = header.data.stat().st_size - header.start
    room = found * BEST_COMPRESSION if header.compressed else found
    if room < expected:
        raise ValueError(
            f"its voxels take {found} bytes{', compressed' * header.compressed}, while its header "
            f"says {expected}"
        )


class Inflated:
    """A compressed part of a file, from where the file stands: zlib or gzip, of any streams."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._stream, self._pending = file, zlib.decompressobj(wbits=47), b""

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most `count`; fewer only after the last.

        Raises:
            EOFError: the file ends before the compressed data.
            zlib.error: they are damaged, as a checksum tells at the end of a stream.
        """
        found = bytearray()
        while len(found) < count:
            if self._stream.eof:
                # gzip may put several streams one after the other.
                self._pending = self._stream.unused_data + self._file.read(BLOCK)
                if not self._pending.startswith(GZIP):
                    break
                self._stream = zlib.decompressobj(wbits=47)
            block = self._pending or self._file.read(BLOCK)
            inflated = self._stream.decompress(block, count - len(found))
            self._pending = self._stream.unconsumed_tail
            found += inflated
            if not (block or inflated or self._stream.eof):
                raise EOFError("its compressed voxels end too early")
        return bytes(found)
