"""Label error: overlaps counted by hand, surface distance against trying all pairs of pixels."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

import label_oracle
from labelnoise.labels.error import LabelError, boundary_pixels, measure, surface_distances


def square(size, top, left, side):
    mask_HW = np.zeros((size, size), np.uint8)
    mask_HW[top : top + side, left : left + side] = 1
    return mask_HW


def test_shifted_square_counted_by_hand():
    # A 3 x 3 square moved right by one: 6 pixels stay, 3 appear, 3 vanish.
    error = measure([square(8, 2, 2, 3)], [square(8, 2, 3, 3)])
    assert error.label_dice == pytest.approx(12 / 18)
    assert error.precision == pytest.approx(6 / 9)
    assert error.recall == pytest.approx(6 / 9)
    assert error.volume_ratio == 1
    # Of 8 boundary pixels each way 3 are one pixel off, 1 more is next to the other's centre, which
    # is no boundary.
    assert error.surface_distance == pytest.approx(4 / 8)


def test_a_grown_square_loses_precision_alone():
    error = measure([square(8, 3, 3, 2)], [square(8, 2, 2, 4)])
    assert (error.precision, error.recall, error.volume_ratio) == (4 / 16, 1, 4)
    assert error.label_dice == pytest.approx(8 / 20)
    # 4 pixels at distance 1 inwards; outwards 8 at distance 1 and 4 corners at sqrt 2.
    assert error.surface_distance == pytest.approx((4 + 8 + 4 * 2**0.5) / 16)


def test_overlap_is_pooled_over_slices_and_not_averaged():
    big, small = square(8, 0, 0, 8), square(8, 0, 0, 1)
    missed = np.zeros((8, 8), np.uint8)
    error = measure(np.stack([big, small]), np.stack([big, missed]))
    assert error.label_dice == pytest.approx(128 / 129)
    # The slice that was missed has no distance; the other's is 0.
    assert error.surface_distance == 0


def test_shares_without_a_denominator_are_nan():
    empty, full = np.zeros((1, 4, 4), np.uint8), np.ones((1, 4, 4), np.uint8)
    nothing = measure(empty, empty)
    assert all(np.isnan(value) for value in vars(nothing).values())
    missed = measure(full, empty)
    assert (missed.label_dice, missed.recall, missed.volume_ratio) == (0, 0, 0)
    assert np.isnan(missed.precision) and np.isnan(missed.surface_distance)
    invented = measure(empty, full)
    assert (invented.label_dice, invented.precision) == (0, 0)
    assert np.isnan(invented.recall) and np.isnan(invented.volume_ratio)


def test_equal_masks_have_no_error():
    masks_NHW = np.stack([square(8, 1, 1, 4), square(8, 4, 4, 4)])
    assert measure(masks_NHW, masks_NHW.copy()) == LabelError(1, 1, 1, 1, 0)


@pytest.mark.parametrize("seed", range(5))
def test_surface_distance_agrees_with_trying_all_pairs(seed):
    rng = np.random.default_rng(seed)
    reference_HW, perturbed_HW = (rng.random((2, 9, 12)) < 0.4).astype(np.uint8)
    expected = label_oracle.surface_distance(reference_HW, perturbed_HW)
    assert measure([reference_HW], [perturbed_HW]).surface_distance == pytest.approx(expected)


def test_boundary_counts_the_slice_edge_and_holes_but_no_inner_pixel():
    mask_HW = np.ones((5, 5), np.uint8)
    assert len(boundary_pixels(mask_HW)) == 16
    mask_HW[2, 2] = 0
    assert len(boundary_pixels(mask_HW)) == 20  # and the hole's 4 neighbours


@given(arrays.arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 8))))
def test_boundary_is_what_an_erosion_takes_away(mask_HW):
    found = boundary_pixels(mask_HW.astype(np.uint8))
    assert (found == np.argwhere(mask_HW & ~ndimage.binary_erosion(mask_HW))).all()


def test_distances_of_large_masks_are_those_of_transforms():
    rows, columns = np.mgrid[:200, :240]
    reference_HW = np.hypot(rows - 80, columns - 120) < 60
    perturbed_HW = (np.hypot(rows - 92, columns - 110) < 55) ^ (
        np.random.default_rng(0).random(rows.shape) < 0.02
    )
    expected = [
        ndimage.distance_transform_edt(~to_HW)[from_HW]
        for from_HW, to_HW in permutations(
            [mask_HW & ~ndimage.binary_erosion(mask_HW) for mask_HW in (reference_HW, perturbed_HW)]
        )
    ]
    found = surface_distances(reference_HW, perturbed_HW)
    np.testing.assert_allclose(found, np.concatenate(expected))


def test_slices_may_come_one_at_a_time():
    masks_NHW = np.stack([square(8, 1, 1, 4), square(8, 2, 2, 3)])
    wrong_NHW = np.stack([square(8, 1, 2, 4), square(8, 3, 2, 3)])
    assert measure(iter(masks_NHW), iter(wrong_NHW)) == measure(masks_NHW, wrong_NHW)
    with pytest.raises(ValueError):
        measure(masks_NHW, wrong_NHW[:1])
