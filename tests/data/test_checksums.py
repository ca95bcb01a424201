"""Damage anywhere in a stored file is found when it is read, or changes nothing."""

import zlib

import h5py
import numpy as np
import pytest

from damage import damage
from labelnoise.data.checksums import (
    STORED,
    create,
    fletcher32,
    read_attributes,
    with_checksum,
    write_attributes,
)
from labelnoise.data.storage import Dataset, LabelFile
from tiny import write_files

RNG = np.random.default_rng(0)


def test_fletcher_of_words_counted_by_hand():
    """Words 0x0102 and 0x0304: sums 0x0406 and 0x0102 + 0x0406; an odd byte counts as its high."""
    assert fletcher32(b"\x01\x02\x03\x04") == 0x0508_0406
    assert fletcher32(b"\x01\x02\x03") == fletcher32(b"\x01\x02\x03\x00")
    assert fletcher32(bytes(10)) == 0
    assert fletcher32(b"\xff\xff") == 0xFFFF_FFFF


@pytest.mark.parametrize("size", [1, 2, 1001, 300_000])
def test_fletcher_is_what_hdf5_stores(tmp_path, size):
    """`with_checksum` is what HDF5 makes of the same bytes, and HDF5 reads it back."""
    for values in (RNG.integers(0, 256, size).astype(np.uint8), np.full(size, 255, np.uint8)):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            stored = file.create_dataset("x", data=values, chunks=(size,), fletcher32=True)
            _, chunk = stored.id.read_direct_chunk((0,))
            assert chunk == with_checksum(values.tobytes())
        with create(tmp_path / "y.h5") as file:
            stored = file.create_dataset("y", (size,), np.uint8, chunks=(size,), **STORED)
            packed = with_checksum(zlib.compress(values.tobytes()))
            stored.id.write_direct_chunk((0,), packed)
        with h5py.File(tmp_path / "y.h5") as file:
            np.testing.assert_array_equal(file["y"][:], values)


def test_attributes_come_back(tmp_path):
    """Also one beyond the 64 KB of a header."""
    attributes = {
        "text": "Tumör",
        "empty": "",
        "number": 3,
        "numbers": [0.1, float("inf")],
        "texts": ["background", "ä"],
        "long": "x" * 100_000,
    }
    with create(tmp_path / "x.h5") as file:
        write_attributes(file, attributes)
        kinds = {h5py.check_string_dtype(file.attrs.get_id(key).dtype) for key in file.attrs}
        # HDF5 may hang in damaged texts of varying length.
        assert {kind.length is None for kind in kinds if kind} == {False}
    with h5py.File(tmp_path / "x.h5") as file:
        assert read_attributes(file) == attributes
        content = (tmp_path / "x.h5").read_bytes()
    (tmp_path / "x.h5").write_bytes(content.replace(b"x" * 99, b"x" * 98 + b"y", 1))
    with (
        h5py.File(tmp_path / "x.h5") as file,
        pytest.raises(ValueError, match="attributes are damaged"),
    ):
        read_attributes(file)


def everything_of_a_dataset(path):
    with Dataset(path) as data:
        images_NHW, labels_NHW = data.read(range(len(data)))
        about = (data.name, data.class_names, data.intensities, data.foreground_fraction)
        rows = [values.tolist() for values in (data.case, data.slice, data.split)]
        arrays = (images_NHW, labels_NHW, data.spacing)
        return repr((about, data.provenance, rows, [array.tobytes() for array in arrays]))


def everything_of_labels(path):
    with LabelFile(path) as labels:
        about = (labels.dataset, labels.perturbation, labels.kind, labels.draws, labels.seed)
        error = (labels.severities, labels.foreground_fractions, labels.rows.tolist())
        drawn = [labels.read(labels.rows, draw).tobytes() for draw in range(labels.stored_draws)]
        return repr((about, error, drawn))


@pytest.mark.parametrize(
    ("key", "read"), [("dataset", everything_of_a_dataset), ("labels", everything_of_labels)]
)
def test_a_damaged_byte_is_a_sentence_or_changes_nothing(tmp_path, key, read):
    path = write_files(tmp_path, draws=2)[key]
    found = damage(path, read)
    assert not found["other"] and found["sentence"] > 100
