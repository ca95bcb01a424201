"""Distances to the other side: against scipy's transform, in any plane, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from labelnoise.labels import distances
from labelnoise.labels.distances import to_other_side

MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12)))
SPACINGS = [(3.0, 0.8, 0.8), (1.0, 1.0, 1.0), (0.4, 1.3, 0.7), (9.0, 0.5, 2.0)]


def check(mask_ZHW, spacing_3, reach):
    """Hold distances and nearest objects against transforms of the mask, and of each object."""
    labels_ZHW, objects = ndimage.label(mask_ZHW, np.ones((3, 3, 3)))
    found, nearest = to_other_side(labels_ZHW, objects, spacing_3, reach)
    assert found.dtype == np.float32 and found.shape == nearest.shape == mask_ZHW.shape
    expected = np.where(
        mask_ZHW,
        ndimage.distance_transform_edt(mask_ZHW, spacing_3),
        ndimage.distance_transform_edt(~mask_ZHW, spacing_3),
    )
    near = expected < reach * (1 - 1e-6)
    np.testing.assert_allclose(found[near], expected[near], rtol=5e-7)
    assert (found[~near] >= reach * (1 - 1e-6)).all()
    to_each = [
        ndimage.distance_transform_edt(labels_ZHW != number, spacing_3)
        for number in range(1, objects + 1)
    ]
    to_nearest = np.take_along_axis(np.stack(to_each), nearest[None] - 1, axis=0)[0]
    near &= ~mask_ZHW
    np.testing.assert_allclose(to_nearest[near], expected[near], rtol=5e-7)


@settings(deadline=None)
@given(
    MASKS.filter(lambda mask: mask.any() and not mask.all()),
    st.sampled_from(SPACINGS),
    st.floats(0.1, 20),
)
def test_distances_and_nearest_objects_are_those_of_a_full_transform(mask, spacing_3, reach):
    check(mask, spacing_3, reach)


@pytest.mark.parametrize("spacing_3", SPACINGS)
@pytest.mark.parametrize("share", [0.001, 0.02])
def test_so_they_are_in_large_volumes_a_block_at_a_time(monkeypatch, spacing_3, share):
    monkeypatch.setattr(distances, "BLOCK_BYTES", 2**12)
    seeds = np.random.default_rng(3).random((5, 61, 83)) < share
    check(ndimage.binary_dilation(seeds, iterations=2), spacing_3, 11.0)


def test_many_objects_far_apart_keep_their_numbers():
    mask = np.zeros((1, 300, 300), bool)
    mask[0, ::15, ::15] = True  # 400 objects, more than whole numbers of four bytes tell apart
    check(mask, (1.0, 1.0, 1.0), 200.0)


def test_one_row_by_hand():
    labels = np.array([[[0, 0, 0, 0, 1, 1, 0, 2, 0, 0]]])
    found, nearest = to_other_side(labels, 2, (1.0, 2.0, 2.0), 6.5)
    assert found.ravel()[1:].tolist() == [6, 4, 2, 2, 2, 2, 2, 2, 4]
    assert found[0, 0, 0] >= 6.5
    assert nearest[0, 0, [1, 2, 3, 8, 9]].tolist() == [1, 1, 1, 2, 2]
