import numpy as np
import pytest
from scipy import ndimage

from labelnoise.labels.raters.statistics import (
    LAGS,
    OF_OBJECTS,
    STATISTICS,
    Differences,
    Outline,
    Outlined,
    compare,
    radius_of,
    summarise,
)

SPACING = (2.0, 0.5, 0.5)
y, x = np.mgrid[:121, :121]
ROUND, TURN = np.hypot(y - 60, x - 60) / 2, np.arctan2(y - 60, x - 60)  # mm, radians


def disc(radius, waves=0, height=0.0):
    """A disc of so many mm, its outline a cosine of so many waves and mm."""
    return radius + height * np.cos(waves * TURN) > ROUND


def stack(*slices):
    return np.stack(slices)


def differences(*masks, consensus=None):
    consensus_ZHW = masks[0] if consensus is None else consensus
    outline = Outline(consensus_ZHW, SPACING)
    return compare(np.stack(masks), consensus_ZHW, outline, 20.0, len(masks))


def test_displacement_is_in_mm_outwards():
    outline = Outline(stack(disc(20)), SPACING)
    for radius in (17, 20, 22):
        np.testing.assert_allclose(outline.displacement(stack(disc(radius))), radius - 20, atol=0.3)


def test_displacement_in_pixels_that_are_not_square():
    rows, columns = np.mgrid[:61, :121]
    round_ = np.hypot((rows - 30) * 1.0, (columns - 60) * 0.5)
    outline = Outline(stack(round_ < 20), (2.0, 1.0, 0.5))
    np.testing.assert_allclose(outline.displacement(stack(round_ < 23)), 3, atol=0.6)


def test_a_slice_that_a_rater_leaves_out_tells_nothing():
    outline = Outline(stack(disc(20), disc(20)), SPACING)
    found_ST = outline.displacement(stack(disc(21), np.zeros_like(disc(1))))
    assert np.isfinite(found_ST[0]).all() and np.isnan(found_ST[1]).all()


def test_a_concave_object_is_no_outlier():
    ring = (ROUND < 25) & ~(ROUND < 15) & ~(np.abs(TURN) < 0.5)
    grown = ndimage.binary_dilation(ring, np.hypot(*np.mgrid[-2:3, -2:3]) <= 2.1)
    outline = Outline(stack(ring), SPACING)
    found_T = outline.displacement(stack(grown))[0]
    # 2 pixels of 0.5 mm; a ray across the gap would find 10 mm and more.
    assert abs(np.median(found_T) - 1) < 0.3
    assert found_T.min() > -0.5 and found_T.max() < 2.5


def test_nothing_counts_for_more_than_the_depth():
    everything = np.ones((1, 121, 121), bool)
    outline = Outline(stack(disc(20)), SPACING)
    assert outline.displacement(everything).max() <= 0.6 * 20 + 0.1


def test_dice_and_lone_slices_by_hand():
    first = np.zeros((4, 3, 8), bool)
    first[:, 1, :4] = True  # 16 voxels
    second = first.copy()
    second[3] = False  # 12 of them
    found = differences(first, second)
    assert found.dice_P.tolist() == [24 / 28]
    assert found.values["ends"] == 1 / 4


def test_discs_of_two_sizes_differ_by_offset_alone():
    found = differences(stack(disc(19), disc(19)), stack(disc(21), disc(21)))
    assert found.values["offset"] > 0.95 and found.values["whole_offset"] > 0.95
    assert found.values["log_mm"] == pytest.approx(np.log(2), abs=0.1)


def test_offsets_that_change_sign_from_slice_to_slice_cancel_over_the_object():
    same = stack(*[disc(20)] * 4)
    other = stack(disc(19), disc(21), disc(19), disc(21))
    found = differences(same, other)
    assert found.values["offset"] > 0.9
    assert found.values["whole_offset"] < 0.05


@pytest.mark.parametrize("waves", [2, 4])
def test_waves_have_the_correlations_of_a_cosine(waves):
    found = differences(stack(disc(20)), stack(disc(20, waves, 2)))
    for step in LAGS:
        wanted = np.cos(waves * 2 * np.pi * step / 64)
        assert found.values[f"lag_{step}"] == pytest.approx(wanted, abs=0.06)
    assert found.values["offset"] < 0.03


def test_next_slice_is_alike_or_opposite():
    flat = stack(*[disc(20)] * 4)
    alike = stack(*[disc(20, 3, 2)] * 4)
    opposite = stack(*[disc(20, 3, height) for height in (2, -2, 2, -2)])
    assert differences(flat, alike).values["next_slice"] > 0.95
    assert differences(flat, opposite).values["next_slice"] < -0.9
    apart = flat.copy()
    apart[1] = apart[3] = False  # no two slices follow on each other
    assert np.isnan(differences(apart, apart & alike).values["next_slice"])


def test_size_and_drift_are_logarithms_of_volumes():
    masks = [stack(disc(radius)) for radius in (18, 20, 24)]
    found = differences(*masks, consensus=stack(disc(22)))
    sizes = np.log([mask.sum() for mask in masks])
    assert found.values["size"] == pytest.approx(sizes.mean() - sizes[1])
    assert found.values["drift"] == pytest.approx(sizes[1] - np.log(disc(22).sum()))


def test_the_consensus_of_three_is_their_majority():
    masks = np.stack([stack(disc(radius)) for radius in (18, 20, 24)])
    assert (Outlined("a", masks, SPACING).consensus_ZHW == masks[1]).all()


def test_the_consensus_of_two_lies_half_way():
    masks = np.stack([stack(disc(radius)) for radius in (16, 24)])
    consensus_ZHW = Outlined("a", masks, (np.nan, 0.5, 0.5)).consensus_ZHW
    assert consensus_ZHW.sum() == round(masks.sum() / 2)
    assert (consensus_ZHW[0] | (ROUND > 19)).all() and not (consensus_ZHW[0] & (ROUND > 22)).any()


def test_radius_of_a_disc_and_of_a_ball():
    assert radius_of(stack(disc(20)), (np.nan, 0.5, 0.5)) == pytest.approx(20, rel=0.01)
    voxels = np.ones((2, 3, 4), bool)
    assert radius_of(voxels, (2, 1, 0.5)) == pytest.approx((24 * 3 / (4 * np.pi)) ** (1 / 3))


def test_every_object_has_one_vote():
    def made(dice_P, offset, radius):
        values = dict.fromkeys(OF_OBJECTS, np.nan) | {"offset": offset}
        return Differences(np.array(dice_P), values | {"log_mm": 0.5 * np.log(radius)}, radius)

    objects = [made([0.7], 0.2, 4.0), made([0.8, 0.9], 0.6, 8.0), made([1.0], np.nan, 16.0)]
    found = dict(zip(STATISTICS, summarise(objects), strict=True))
    assert found["dice_50"] == pytest.approx(0.85)
    assert found["offset"] == pytest.approx(0.4)
    assert found["log_slope"] == pytest.approx(0.5)
    assert np.isnan(found["lag_1"])
