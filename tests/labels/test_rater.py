import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from scipy.stats import norm

from labelnoise.labels.rater import rater
from labelnoise.labels.volume import Draw, LabelVolume, Volume

SETTINGS = {"bias_share": 0.3, "mean": 0.0, "length": 3.0, "length_z": 2.0}
SETTINGS |= {"gamma": 0.2, "smoothness": 1.2, "across": 1.5, "spread": 0.0}
MASKS = arrays.arrays(bool, st.tuples(*[st.integers(1, 9)] * 3))
SPACING = (2.0, 0.7, 0.9)


def wrong(volume, severity, draw=0, wanted=None, **settings):
    wanted = range(len(volume)) if wanted is None else wanted
    return rater(volume, severity, Draw(5, draw, 3, 3), wanted, **SETTINGS | settings)


def ball(radius, shape=(15, 60, 60), spacing_3=(2.0, 1.0, 1.0)):
    centres = [
        (np.arange(size) - size // 2) * side for size, side in zip(shape, spacing_3, strict=True)
    ]
    z, y, x = np.meshgrid(*centres, indexing="ij")
    return Volume(np.sqrt(z**2 + y**2 + x**2) < radius, spacing_3)


@settings(deadline=None)
@given(MASKS)
def test_severity_0_is_the_identity(mask_ZHW):
    assert (wrong(Volume(mask_ZHW, SPACING), 0) == mask_ZHW).all()


@settings(deadline=None)
@given(MASKS, st.floats(0, 20), st.integers(0, 3))
def test_any_mask_works_and_stays_as_it_was(mask_ZHW, severity, draw):
    before = mask_ZHW.copy()
    found = wrong(Volume(mask_ZHW, SPACING), severity, draw)
    assert found.dtype == bool and found.shape == mask_ZHW.shape
    assert (mask_ZHW == before).all() and not np.shares_memory(found, mask_ZHW)
    if not mask_ZHW.any() or mask_ZHW.all():
        assert (found == mask_ZHW).all()


@settings(deadline=None)
@given(MASKS, st.floats(0.1, 9))
def test_any_slice_alone_in_any_order_has_the_same_pixels(mask_ZHW, severity):
    together = wrong(Volume(mask_ZHW, SPACING), severity)
    volume = Volume(mask_ZHW, SPACING)
    volume.signed_distance(50) if mask_ZHW.any() else None  # what was asked before plays no part
    for position in reversed(range(len(mask_ZHW))):
        assert (wrong(volume, severity, wanted=[position])[0] == together[position]).all()


def test_slices_may_come_twice():
    volume = ball(12)
    assert (wrong(volume, 1, wanted=[7, 7, 2]) == wrong(volume, 1)[[7, 7, 2]]).all()


def test_all_bias_moves_the_outline_by_one_distance():
    volume = ball(15, spacing_3=(1.0, 1.0, 1.0), shape=(50, 50, 50))
    for draw in range(4):
        found = wrong(volume, 2, draw, bias_share=1, gamma=0, across=1)
        offset = 2 * Draw(5, draw, 3, 3).of_case().standard_normal()
        assert radius_of(found) == pytest.approx(15 + offset, abs=0.3)


def radius_of(mask_ZHW):
    return np.cbrt(mask_ZHW.sum() * 3 / (4 * np.pi))


def test_mean_is_in_units_of_severity():
    volume = ball(15, spacing_3=(1.0, 1.0, 1.0), shape=(50, 50, 50))
    grown = wrong(volume, 0.001, mean=3000.0, gamma=0, across=1)
    assert radius_of(grown) == pytest.approx(18, abs=0.2)


@pytest.mark.parametrize("radius", [10, 16])
def test_displacements_grow_with_the_radius_to_the_power_gamma(radius):
    volume = ball(radius, spacing_3=(1.0, 1.0, 1.0), shape=(50, 50, 50))
    grown = wrong(volume, 0.001, mean=1000.0, gamma=1, across=1)
    assert radius_of(grown) == pytest.approx(radius + radius / 5, abs=0.2)


def test_an_outline_moves_by_less_than_a_pixel_too():
    volume = ball(15, spacing_3=(1.0, 1.0, 1.0), shape=(40, 40, 40))
    grown = wrong(volume, 0.001, mean=300.0, gamma=0, across=1)
    assert radius_of(grown) - radius_of(volume.mask_ZHW) == pytest.approx(0.3, abs=0.15)


def test_a_voxel_is_foreground_as_often_as_the_displacement_is_beyond_its_distance():
    half = np.zeros((1, 120, 80), bool)
    half[0, :, :40] = True
    volume = Volume(half, (np.nan, 0.25, 0.25))
    found = [wrong(volume, 1, k, bias_share=0.4, length=1, gamma=0)[0] for k in range(300)]
    distance_W = (np.arange(80) - 39.5) / 4
    # Islands and holes take a little from where pixels are seldom flipped.
    np.testing.assert_allclose(np.mean(found, axis=(0, 1)), norm.sf(distance_W), atol=0.07)


def test_outlines_move_as_many_times_as_far_across_slices():
    box = np.zeros((21, 40, 40), bool)
    box[6:15, 5:35, 5:35] = True
    volume = Volume(box, (4.0, 1.0, 1.0))
    grown = wrong(volume, 0.001, mean=2400.0, gamma=0, across=3)
    # 2.4 mm from half a pixel outside the last centre; slices are 4 / 3 mm apart where across is 3.
    assert np.flatnonzero(grown.any(axis=(1, 2))).tolist() == list(range(4, 17))
    assert np.flatnonzero(grown[10, 20]).tolist() == list(range(3, 37))


def test_every_part_touches_the_object_and_every_gap_the_background():
    volume = ball(14)
    for draw in range(5):
        found = wrong(volume, 2, draw, length=0.5, smoothness=0.5, bias_share=0.0)
        for each_HW, mask_HW in zip(found[2:13], volume.mask_ZHW[2:13], strict=True):
            parts_HW, number = ndimage.label(each_HW, np.ones((3, 3)))
            assert set(parts_HW[mask_HW]) - {0} == set(range(1, number + 1))
            gaps_HW, number = ndimage.label(~each_HW)
            assert set(gaps_HW[~mask_HW]) - {0} == set(range(1, number + 1))


def test_objects_and_holes_that_are_there_stay():
    mask = np.zeros((1, 60, 60), bool)
    mask[0, 5:25, 5:25] = mask[0, 35:50, 35:50] = True
    mask[0, 11:19, 11:19] = False
    found = wrong(Volume(mask, (np.nan, 1, 1)), 0.3)[0]
    assert ndimage.label(found)[1] == 2 and ndimage.label(~found)[1] == 2


def test_several_objects_each_have_an_offset():
    mask = np.zeros((1, 40, 90), bool)
    mask[0, 10:30, 10:30] = mask[0, 10:30, 60:80] = True
    found = [wrong(Volume(mask, (np.nan, 1, 1)), 2, k, bias_share=1)[0] for k in range(40)]
    sizes_K2 = np.array([[each[:, :45].sum(), each[:, 45:].sum()] for each in found])
    assert abs(np.corrcoef(sizes_K2.T)[0, 1]) < 0.4
    assert (sizes_K2.std(axis=0) > 50).all()


def test_structures_that_touch_move_by_one_warp():
    labels = np.zeros((1, 60, 60), np.uint8)
    labels[0, 10:50, 10:50] = 1
    labels[0, 10:50, 30:50] = 2  # both end at the outline of the union
    volume = LabelVolume(labels, (np.nan, 1, 1))
    for draw in range(5):
        settings = {"gamma": 0, "draw": draw}
        outer, inner = wrong(volume.union(1), 2, **settings), wrong(volume.union(2), 2, **settings)
        # Far from the corner where they part, the outlines are the same to the pixel.
        assert (outer[0, 14:46, 43:] == inner[0, 14:46, 43:]).all()
        assert not (inner & ~outer).any()


def test_an_object_at_the_edge_does_not_leave_it():
    mask = np.zeros((1, 40, 40), bool)
    mask[0, :, :20] = True
    found = [wrong(Volume(mask, (np.nan, 1, 1)), 1, k)[0] for k in range(20)]
    assert all(each[:, :10].all() for each in found)
