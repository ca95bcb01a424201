import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from labelnoise.labels.volume import Draw, LabelVolume, Volume

MASKS = arrays.arrays(bool, st.tuples(*[st.integers(1, 7)] * 3)).filter(np.any)


def slow_distance(mask_ZHW, spacing_3):
    """Distance to the nearest voxel of the other kind, less half a pixel, one voxel at a time."""
    here_F3 = np.argwhere(mask_ZHW) * spacing_3
    away_F3 = np.argwhere(~mask_ZHW) * spacing_3
    found = np.full(mask_ZHW.shape, -np.inf)
    half = min(spacing_3[1:]) / 2
    for at in np.ndindex(mask_ZHW.shape):
        others_F3 = away_F3 if mask_ZHW[at] else here_F3
        if len(others_F3):
            gap = np.linalg.norm(others_F3 - np.multiply(at, spacing_3), axis=1).min() - half
            found[at] = -gap if mask_ZHW[at] else gap
    return found


@settings(deadline=None)
@given(MASKS, st.floats(0, 9))
def test_distances_are_those_to_the_nearest_voxel_of_the_other_kind(mask_ZHW, reach):
    spacing_3 = (2.5, 0.5, 1.0)
    box, distance = Volume(mask_ZHW, spacing_3).signed_distance(reach)
    expected = slow_distance(mask_ZHW, spacing_3)[box]
    near = np.abs(expected) <= reach
    np.testing.assert_allclose(distance[near], expected[near], rtol=1e-6)
    assert (np.abs(distance[~near]) > reach).all()
    assert ((distance < 0) == mask_ZHW[box]).all()


@settings(deadline=None)
@given(MASKS, st.floats(0, 5), st.floats(0, 5))
def test_what_was_asked_before_changes_nothing(mask_ZHW, reach, before):
    volume = Volume(mask_ZHW, (1, 1, 1))
    volume.signed_distance(before)
    fresh = Volume(mask_ZHW, (1, 1, 1))
    (box, distance), (fresh_box, expected) = (
        each.signed_distance(reach) for each in (volume, fresh)
    )
    assert box == fresh_box
    near = np.abs(expected) <= reach
    assert (distance[near] == expected[near]).all() and (np.abs(distance[~near]) > reach).all()
    assert (volume.nearest_object(reach)[near] == fresh.nearest_object(reach)[near]).all()


def test_distances_on_one_row_by_hand():
    row = np.array([0, 0, 1, 1, 1, 0, 0, 0], bool)
    box, distance = Volume(row[None, None], (np.nan, 2, 2)).signed_distance(3)
    assert box == (slice(0, 1), slice(0, 1), slice(0, 8))
    assert distance.ravel().tolist()[:-1] == [3, 1, -1, -3, -1, 1, 3]
    assert distance.ravel()[-1] > 3


def test_a_full_volume_has_no_outline():
    volume = Volume(np.ones((2, 3, 3), bool), (1, 1, 1))
    assert (volume.signed_distance(1)[1] == -np.inf).all()
    assert (volume.nearest_object(1) == 0).all()


def test_an_empty_volume_has_no_box():
    volume = Volume(np.zeros((2, 3, 3), bool), (1, 1, 1))
    assert volume.box is None
    assert len(volume.objects.radius_O) == 0 and not volume.objects.labels_ZHW.any()
    with pytest.raises(ValueError, match="no box"):
        volume.signed_distance(1)


def test_objects_their_radii_and_who_is_nearest():
    mask = np.zeros((1, 6, 12), bool)
    mask[0, 1:3, 1:3] = mask[0, 3, 3] = True  # joined at a corner
    mask[0, 4, 9] = True
    volume = Volume(mask, (np.nan, 2, 2))
    np.testing.assert_allclose(volume.objects.radius_O, np.sqrt([20 / np.pi, 4 / np.pi]))
    assert volume.objects.labels_ZHW[0, 3, 3] == 1 and volume.objects.labels_ZHW[0, 4, 9] == 2
    assert volume.nearest_object(100)[0, 4].tolist() == [0] * 6 + [1] * 6


def test_a_ball_has_its_own_radius():
    z, y, x = np.mgrid[-12:13, -24:25, -24:25]
    volume = Volume(np.sqrt((2 * z) ** 2 + y**2 + x**2) < 20, (2, 1, 1))
    np.testing.assert_allclose(volume.objects.radius_O, [20], rtol=0.01)


def test_unions_are_nested_and_structures_are_not():
    labels = np.array([[[0, 1, 2, 3]]], np.uint8)
    volume = LabelVolume(labels, (1, 1, 1))
    assert volume.structure(2).mask_ZHW.ravel().tolist() == [False, False, True, False]
    assert volume.union(2).mask_ZHW.ravel().tolist() == [False, False, True, True]


def test_streams_of_a_draw_differ_by_their_key_alone():
    draw = Draw(seed=1, number=2, volume=30, case=20)
    values = [
        generator.random()
        for generator in (
            draw.of_volume(),
            draw.of_volume(1),
            draw.of_case(),
            draw.of_slice(0),
            draw.of_slice(-1),
            draw.of_slice(0, 1),
            Draw(1, 3, 30, 20).of_volume(),
        )
    ]
    assert len(set(values)) == len(values)
    assert Draw(1, 2, 30, 20).of_slice(-1).random() == values[4]
    assert Draw(1, 2, 31, 20).of_case().random() == values[2]


def test_what_a_union_claims_is_a_structures_own_where_it_is_nearest():
    # Of a row 1 1 2 2 . . 2 2 . that lies on its own, and of what of 2 was given up.
    labels_HW = np.zeros((3, 9), np.uint8)
    labels_HW[1] = [1, 1, 2, 2, 0, 0, 2, 2, 0]
    volume = LabelVolume(labels_HW[None], (np.nan, 1, 1))
    claimed_1HW = np.ones((1, 3, 9), bool)
    own = volume.own(1, claimed_1HW, [0])[0].astype(int)
    # Beside the first two columns it is; the nearest of what is not 2 is 1 for the first 2 alone,
    # above and below which is background, as near: either will do.
    assert own[[0, 2]].tolist() == [[1, 1, 0, 0, 0, 0, 0, 0, 0]] * 2
    assert own[1, [0, 1, 3, 4, 5, 6, 7, 8]].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    # No structure is above 2, so all that its union claims is its own.
    assert volume.own(2, claimed_1HW, [0]).all()


def test_a_structure_that_a_higher_one_fills_to_the_edge_has_nothing_of_its_own():
    volume = LabelVolume(np.full((2, 3, 3), 2, np.uint8), (1, 1, 1))
    assert not volume.own(1, np.ones((1, 3, 3), bool), [1]).any()
