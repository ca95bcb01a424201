"""HDF5 files in which a damaged byte is found when it is read; every file of ours is such a one.

In HDF5's file format of version 1.10, metadata have checksums (names, shapes, types, where chunks
are), and so has every chunk that went through the Fletcher32 filter. Texts of varying length have
none, and HDF5 may never return from reading damaged ones: all texts are of fixed length here. An
attribute that is too large for a header has none either: the attributes have a digest.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike

# Named rather than the latest, so that the bytes do not depend on the version of HDF5.
LIBRARY_VERSION = ("v110", "v110")
# The superblock of that format.
SUPERBLOCK = 3
# How every array is stored: shuffled, compressed, then summed.
STORED = {"compression": "gzip", "shuffle": True, "fletcher32": True}
DIGEST = "attributes_sha256"
# What h5py, NumPy and `json` raise where a file is damaged.
DAMAGED = (OSError, LookupError, RuntimeError, TypeError, AttributeError, ValueError)


def create(path: Path) -> h5py.File:
    """Open a new HDF5 file whose metadata have checksums."""
    return h5py.File(path, "w", libver=LIBRARY_VERSION)


def write_array(file: h5py.File, name: str, values: np.ndarray) -> None:
    """Store an array that is not empty as one chunk, so that it has a checksum."""
    file.create_dataset(name, data=values, chunks=values.shape, **STORED)


def write_texts(file: h5py.File, name: str, texts: Sequence[str]) -> None:
    """Store texts in UTF-8 as `write_array` does; h5py's `asstr()` reads them."""
    write_array(file, name, _of_fixed_length(list(texts)))


def write_attributes(file: h5py.File, attributes: Mapping[str, Any]) -> None:
    """Store all attributes of a file at once: texts, numbers, and lists of them."""
    for key, value in {**attributes, DIGEST: _digest(attributes)}.items():
        file.attrs[key] = _of_fixed_length(value)


def read_attributes(file: h5py.File) -> dict[str, Any]:
    """Return what `write_attributes` stored, as Python's texts, numbers and lists.

    Raises:
        ValueError: the attributes are not those that were stored; a clause without the file. Where
            the file is damaged, also the rest of DAMAGED.
    """
    if file.id.get_create_plist().get_version()[0] < SUPERBLOCK:
        raise ValueError("it has no checksums, so an older version or another program wrote it")
    found = {}
    for key, value in file.attrs.items():
        array = np.asarray(value)
        found[key] = (np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array).tolist()
    if found.pop(DIGEST, None) != _digest(found):
        raise ValueError("its attributes are damaged or were edited")
    return found


def _of_fixed_length(value: ArrayLike) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind != "U":
        return array
    encoded = np.char.encode(array, "utf-8")
    return encoded.astype(h5py.string_dtype("utf-8", max(1, encoded.dtype.itemsize)))


def _digest(attributes: Mapping[str, Any]) -> str:
    values = {key: np.asarray(value).tolist() for key, value in attributes.items()}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def with_checksum(packed: bytes) -> bytes:
    """Return a chunk as HDF5's Fletcher32 filter stores it: with its checksum behind it."""
    return packed + fletcher32(packed).to_bytes(4, "little")


def fletcher32(content: bytes) -> int:
    """Return the Fletcher-32 checksum of bytes as HDF5 computes it.

    The words are of 16 bits, the high byte first, an odd last byte is the high byte of a word; the
    two sums are modulo 65535, with 65535 in place of 0 unless all words are 0.
    """
    words = np.frombuffer(content + b"\0" * (len(content) % 2), ">u2").astype(np.uint64)
    if not words.any():
        return 0
    # Reduced first, so that no sum exceeds 64 bits.
    weights = np.arange(len(words), 0, -1, dtype=np.uint64) % 65535
    plain, weighted = int(words.sum()), int((words * weights).sum())
    return (weighted % 65535 or 65535) << 16 | (plain % 65535 or 65535)
