import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from labelnoise.data.bits import pack, planes_of, unpack


def test_bits_by_hand():
    row = np.array([[[1, 0, 2, 3, 0, 0, 0, 0, 3]]], np.uint8)
    packed = pack(row, 2)
    # The low bits are 1001 0000 1, the high ones 0011 0000 1.
    assert packed.tolist() == [[[[0b10010000, 0b10000000]], [[0b00110000, 0b10000000]]]]
    assert unpack(packed[0], 9).tolist() == row[0].tolist()


@pytest.mark.parametrize(("classes", "planes"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (256, 8)])
def test_a_class_index_has_as_many_bits_as_it_takes(classes, planes):
    assert planes_of(classes) == planes
    highest = np.full((1, 1, 1), classes - 1, np.uint8)
    assert unpack(pack(highest, planes)[0], 1) == classes - 1


@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 20))),
    st.integers(1, 8),
)
def test_what_is_packed_comes_back(labels_nHW, planes):
    labels_nHW >>= 8 - planes
    packed = pack(labels_nHW, planes)
    assert packed.shape[1] == planes and packed.dtype == np.uint8
    found = [unpack(each, labels_nHW.shape[2]) for each in packed]
    assert np.array_equal(found, labels_nHW) or not len(labels_nHW)


def test_an_index_with_more_bits_is_refused():
    with pytest.raises(ValueError, match="class index 4 has more than 2 bits"):
        pack(np.full((1, 2, 2), 4, np.uint8), 2)
