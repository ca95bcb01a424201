"""Errors of outlines: examples counted by hand, properties, and agreement with plain loops."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from scipy.spatial.distance import cdist

from labelnoise.errors import InputError
from labelnoise.labels.outlines import bias, interpolated, polygon, translation
from labelnoise.labels.volume import Draw, Volume

KINDS = {
    "grown": (partial(bias, sign=1), 2.3),
    "shrunk": (partial(bias, sign=-1), 1.2),
    "translation": (translation, 3.4),
    "tolerance": (partial(polygon, clicks=None), 1.5),
    "clicks": (partial(polygon, clicks=5), 0.8),
    "interpolated": (interpolated, 1.6),
}
DRAW = Draw(seed=1, number=2, volume=30, case=20)
NAN = float("nan")

kinds = st.sampled_from(sorted(KINDS))
seeds = st.integers(0, 2**32)
several = settings(max_examples=60, deadline=None)


@st.composite
def volumes(draw, least=1):
    """Any masks, and objects with holes; of one slice or several, with pixels of any shape."""
    shape = draw(st.tuples(st.integers(least, 5), st.integers(1, 14), st.integers(1, 14)))
    mask_ZHW = draw(arrays(bool, shape) | st.builds(scene, seeds, st.just(shape)))
    length = st.sampled_from([0.3, 0.8, 1.0, 5.0])
    between = draw(length) if shape[0] > 1 else NAN
    return Volume(mask_ZHW, (between, draw(length), draw(length)))


def scene(seed, shape=(5, 40, 36)):
    noise_ZHW = np.random.default_rng(seed).normal(size=shape)
    smooth_ZHW = ndimage.gaussian_filter(noise_ZHW, (0.7, 2, 2))
    return smooth_ZHW > np.quantile(smooth_ZHW, 0.6)


def disc(radius, row=30.0, column=30.0, size=61):
    y, x = np.mgrid[:size, :size]
    return np.hypot(y - row, x - column) <= radius


def wrong(name, volume, severity=None, draw=DRAW, wanted=None):
    kind, usual = KINDS[name]
    wanted = range(len(volume)) if wanted is None else wanted
    return kind(volume, usual if severity is None else severity, draw, wanted)


def dice(a, b):
    return 2 * np.sum(a & b) / max(np.sum(a) + np.sum(b), 1)


# Every kind


@several
@given(kinds, volumes(), seeds)
def test_severity_0_is_the_identity(name, volume, seed):
    np.testing.assert_array_equal(wrong(name, volume, 0, Draw(seed, 0, 0, 0)), volume.mask_ZHW)


@several
@given(kinds, volumes(least=2), seeds, st.floats(0, 20))
def test_any_volume_gives_new_masks_and_is_left_alone(name, volume, seed, severity):
    before_ZHW = volume.mask_ZHW.copy()
    wrong_ZHW = wrong(name, volume, severity, Draw(seed, 0, 0, 0))
    assert wrong_ZHW.dtype == bool and wrong_ZHW.shape == before_ZHW.shape
    assert not np.shares_memory(wrong_ZHW, volume.mask_ZHW)
    np.testing.assert_array_equal(volume.mask_ZHW, before_ZHW)


@several
@given(kinds, volumes(least=2), st.floats(0, 4), st.floats(4, 20))
def test_a_slice_alone_is_what_it_is_among_others(name, volume, severity, larger):
    all_ZHW = wrong(name, volume, severity)
    wrong(name, volume, larger)  # what this leaves behind must not matter
    for position in (len(volume) - 1, 0):
        again = wrong(name, volume, severity, wanted=(position,))
        np.testing.assert_array_equal(again[0], all_ZHW[position])
        fresh = Volume(volume.mask_ZHW, volume.spacing_3)
        np.testing.assert_array_equal(wrong(name, fresh, severity, wanted=[position])[0], again[0])
    assert wrong(name, volume, severity, wanted=[]).shape == (0, *volume.mask_ZHW.shape[1:])


@pytest.mark.parametrize("name", ["translation", "clicks", "interpolated"])
def test_the_seed_and_the_draw_decide(name):
    volume = Volume(scene(3, (20, 40, 36)), (2.0, 0.8, 0.8))
    drawn = {wrong(name, volume, draw=Draw(seed, 2, 30, 20)).tobytes() for seed in range(6)}
    assert len(drawn) > 1
    drawn = {wrong(name, volume, draw=Draw(1, number, 30, 20)).tobytes() for number in range(6)}
    assert len(drawn) > 1
    assert wrong(name, volume, draw=Draw(1, 5, 30, 20)).tobytes() in drawn


@pytest.mark.parametrize("name", ["grown", "shrunk", "tolerance"])
def test_what_is_not_random_is_the_same_in_every_draw(name):
    volume = Volume(scene(3), (2.0, 0.8, 0.8))
    np.testing.assert_array_equal(wrong(name, volume), wrong(name, volume, draw=Draw(9, 9, 9, 9)))


@pytest.mark.parametrize("name", sorted(KINDS))
def test_label_dice_falls_in_small_steps(name):
    # Of many balls, at common random numbers: a calibration finds any label Dice in between.
    rng = np.random.default_rng(0)
    places = rng.uniform(26, 34, (16, 2))
    radii_Z = 12 * np.sin(np.pi * (np.arange(9) + 1) / 10)
    volumes = [
        Volume(np.stack([disc(radius, *place) for radius in radii_Z]), (4.0, 1.0, 1.0))
        for place in places
    ]
    largest = {"clicks": 1.0, "interpolated": 4.0}.get(name, 3.0)
    reference = np.stack([volume.mask_ZHW for volume in volumes])
    scores = []
    for severity in np.linspace(0, largest, 31):
        draws = [Draw(0, 0, index, index) for index in range(len(volumes))]
        pairs = zip(volumes, draws, strict=True)
        drawn = [wrong(name, volume, severity, draw) for volume, draw in pairs]
        scores.append(dice(reference, np.stack(drawn)))
    fall = scores[0] - scores[-1]
    assert fall > 0.05
    # Thirty steps, none of which is a quarter of the whole: with binary distances, one is half.
    assert np.diff(scores).max() < 0.02 * fall and -np.diff(scores).min() < 0.25 * fall


# Bias


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("size", [0.4, 1.0, 2.5])
def test_a_disc_stays_a_disc_whose_radius_changes_by_the_severity(sign, size):
    volume = Volume(disc(10)[None], (NAN, size, size))
    (moved_HW,) = bias(volume, 2 * size, DRAW, [0], sign=sign)
    radius = np.sqrt(moved_HW.sum() / np.pi)
    assert radius == pytest.approx(10 + 2 * sign, abs=0.3)
    assert not (moved_HW & ~disc(radius + 0.9)).any() and not (disc(radius - 0.9) & ~moved_HW).any()
    np.testing.assert_array_equal(moved_HW, moved_HW.T)


@several
@given(volumes(), st.floats(0.01, 12), st.sampled_from([1, -1]))
def test_bias_agrees_with_distances_between_all_pairs_but_for_half_a_pixel(volume, severity, sign):
    # The outline is half the smallest spacing off the nearest voxel on its other side.
    lengths = np.array([1.0 if np.isnan(length) else length for length in volume.spacing_3])
    half = np.nanmin(volume.spacing_3) / 2
    mask_ZHW = volume.mask_ZHW
    inside, outside = np.argwhere(mask_ZHW) * lengths, np.argwhere(~mask_ZHW) * lengths
    moved_ZHW = wrong("grown" if sign > 0 else "shrunk", volume, severity)
    if not len(inside) or not len(outside):
        np.testing.assert_array_equal(moved_ZHW, mask_ZHW)
        return
    distance_ZHW = np.zeros(mask_ZHW.shape)
    distance_ZHW[~mask_ZHW] = cdist(outside, inside).min(axis=1) - half
    distance_ZHW[mask_ZHW] = half - cdist(inside, outside).min(axis=1)
    room = min(volume.spacing_3[1:]) / 2
    assert moved_ZHW[distance_ZHW < sign * severity - room].all()
    assert not moved_ZHW[distance_ZHW > sign * severity + room].any()


@several
@given(volumes(), st.floats(0, 10), st.floats(0, 10))
def test_a_larger_bias_holds_a_smaller_one(volume, one, other):
    small, large = sorted((one, other))
    assert not (wrong("grown", volume, small) & ~wrong("grown", volume, large)).any()
    assert not (wrong("shrunk", volume, large) & ~wrong("shrunk", volume, small)).any()


def test_bias_reaches_the_next_slice_where_it_is_near_enough():
    mask_ZHW = np.zeros((5, 21, 21), bool)
    mask_ZHW[2, 5:16, 5:16] = True
    volume = Volume(mask_ZHW, (3.0, 1.0, 1.0))
    # The next slice is 2.5 mm from the outline, the one after it 5.5 mm.
    for severity, slices in [(1.9, 1), (3.1, 3), (4.9, 3), (6.1, 5)]:
        assert wrong("grown", volume, severity).any(axis=(1, 2)).sum() == slices


def test_the_edge_of_a_slice_is_no_outline():
    mask_HW = np.zeros((20, 20), bool)
    mask_HW[:, :10] = True
    volume = Volume(mask_HW[None], (NAN, 1.0, 1.0))
    assert (wrong("shrunk", volume, 3)[0] == (np.arange(20) < 7)).all()
    assert (wrong("grown", volume, 3)[0] == (np.arange(20) < 13)).all()


# Translation


class GivenDraw:
    """Stands in for a Draw: an angle as a share of the turn, and what rounds both shifts."""

    def __init__(self, *numbers):
        self.numbers = numbers

    def of_case(self, purpose=0):
        return self

    def random(self, number):
        assert number == len(self.numbers)
        return np.array(self.numbers)


@pytest.mark.parametrize(
    ("turn", "row", "column"), [(0, 0, 3), (0.25, 3, 0), (0.5, 0, -3), (0.75, -3, 0)]
)
def test_a_pixel_moves_by_the_severity_in_the_direction_drawn(turn, row, column):
    mask_HW = np.zeros((9, 9), bool)
    mask_HW[4, 4] = True
    volume = Volume(mask_HW[None], (NAN, 0.5, 0.5))
    (moved_HW,) = translation(volume, 1.5, GivenDraw(turn, 0.5, 0.5), [0])
    assert np.argwhere(moved_HW).tolist() == [[4 + row, 4 + column]]


def test_what_moves_in_from_outside_is_background():
    volume = Volume(np.ones((1, 6, 8), bool), (NAN, 1.0, 1.0))
    (moved_HW,) = translation(volume, 2.0, GivenDraw(0.25, 0.5, 0.5), [0])
    assert not moved_HW[:2].any() and moved_HW[2:].all()
    assert not translation(volume, 4000.0, GivenDraw(0.1, 0.5, 0.5), [0]).any()


def test_slices_and_volumes_of_a_case_move_alike_and_the_mean_is_the_severity():
    mask_ZHW = np.zeros((2, 31, 31), bool)
    mask_ZHW[:, 15, 15] = True
    volume = Volume(mask_ZHW, (1.0, 1.0, 1.0))
    moves = []
    for case in range(300):
        places = [
            np.argwhere(translation(volume, 6.3, Draw(1, 0, number, case), range(2)))[:, 1:] - 15
            for number in (case, case + 1)
        ]
        assert (np.concatenate(places) == places[0][0]).all()
        moves.append(places[0][0])
    length, standard_error = np.hypot(*np.transpose(moves)), 0.45 / np.sqrt(300)
    assert np.sqrt((length**2).mean()) == pytest.approx(np.hypot(6.3, 0.58), abs=4 * standard_error)
    assert np.abs(np.mean(moves, axis=0)).max() < 4 * 6.3 / np.sqrt(2 * 300)


# Polygon


@pytest.mark.parametrize("tolerance", [0.1, 1.0, 4.0, 100.0])
def test_a_square_is_a_polygon_already(tolerance):
    mask_HW = np.zeros((20, 20), bool)
    mask_HW[4:13, 6:15] = True
    volume = Volume(mask_HW[None], (NAN, 1.0, 1.0))
    np.testing.assert_array_equal(wrong("tolerance", volume, tolerance)[0], mask_HW)


def test_four_clicks_make_a_square_of_a_disc():
    # Whatever the turn, its corners are on the circle: 2 / pi of the area.
    volume = Volume(disc(25)[None], (NAN, 1.0, 1.0))
    for number in range(5):
        draw = Draw(0, number, 0, 0)
        (square_HW,) = polygon(volume, 1.0, draw, [0], clicks=4)
        assert square_HW.sum() / disc(25).sum() == pytest.approx(2 / np.pi, rel=0.05)
        (again_HW,) = polygon(volume, 7.0, draw, [0], clicks=4)
        np.testing.assert_array_equal(again_HW, square_HW)


def test_clicks_of_two_draws_or_slices_differ():
    volume = Volume(np.stack([disc(20), disc(20)]), (1.0, 1.0, 1.0))
    first, second = wrong("clicks", volume)
    assert (first != second).any()


def test_a_bump_is_kept_up_to_its_height_in_mm():
    mask_HW = np.zeros((40, 40), bool)
    mask_HW[2:32, 4:34] = True
    mask_HW[32:35, 15:22] = True
    volume = Volume(mask_HW[None], (NAN, 0.5, 0.5))
    np.testing.assert_array_equal(wrong("tolerance", volume, 0.5)[0], mask_HW)
    assert wrong("tolerance", volume, 1.4)[0, 33, 15:22].sum() >= 3
    mask_HW[32:35] = False
    np.testing.assert_array_equal(wrong("tolerance", volume, 1.6)[0], mask_HW)


@several
@given(volumes(), st.floats(0.01, 30))
def test_a_polygon_strays_by_its_tolerance_at_most_and_no_pixel_vanishes(volume, tolerance):
    drawn_ZHW = wrong("tolerance", volume, tolerance)
    for mask_HW, drawn_HW in zip(volume.mask_ZHW, drawn_ZHW, strict=True):
        if not (mask_HW != drawn_HW).any():
            continue
        # From a pixel that changed it is no further to the outline than the polygon strays.
        plane = volume.spacing_3[1:]
        inside = ndimage.distance_transform_edt(np.pad(mask_HW, 1), plane)[1:-1, 1:-1]
        outside = ndimage.distance_transform_edt(~mask_HW, plane)
        assert (inside + outside)[mask_HW != drawn_HW].max() <= tolerance + max(plane) * 1.5
    assert wrong("tolerance", Volume(disc(0)[None], volume.spacing_3), 30).any()


def test_holes_are_kept():
    mask_HW = disc(25) & ~disc(9)
    volume = Volume(mask_HW[None], (NAN, 1.0, 1.0))
    for name in ("tolerance", "clicks"):
        (drawn_HW,) = wrong(name, volume)
        assert not drawn_HW[30, 30] and drawn_HW[30, 14] and dice(drawn_HW, mask_HW) > 0.85


# Interpolated


def test_a_cone_is_found_between_two_slices():
    radii = np.arange(4, 25, 2)
    mask_ZHW = np.stack([disc(radius, 30.3, 29.8) for radius in radii])
    volume = Volume(mask_ZHW, (3.0, 1.0, 1.0))
    drawn_ZHW = wrong("interpolated", volume, 100)  # the first and the last slice alone
    np.testing.assert_array_equal(drawn_ZHW[[0, -1]], mask_ZHW[[0, -1]])
    for drawn_HW, radius in zip(drawn_ZHW, radii, strict=True):
        assert np.sqrt(drawn_HW.sum() / np.pi) == pytest.approx(radius, abs=0.35)
        assert not (drawn_HW & ~disc(radius + 1, 30.3, 29.8)).any()
        assert not (disc(radius - 1, 30.3, 29.8) & ~drawn_HW).any()
    assert (drawn_ZHW != mask_ZHW).any()


def test_a_bulge_between_outlined_slices_is_lost_and_the_outlined_are_kept():
    mask_ZHW = np.stack([disc(6 + 4 * (position % 2)) for position in range(9)])
    volume = Volume(mask_ZHW, (3.0, 1.0, 1.0))
    phases = set()
    for seed in range(12):
        drawn_ZHW = wrong("interpolated", volume, 1, Draw(seed, 0, 0, 0))
        kept = (drawn_ZHW == mask_ZHW).all(axis=(1, 2))
        assert kept[0] and kept[-1]
        phase = int(kept[1])
        assert (kept[1:-1] == (np.arange(1, 8) % 2 == phase)).all()
        phases.add(phase)
        between = drawn_ZHW[2:7][~kept[2:7]]
        assert {mask_HW.sum() for mask_HW in between} == {disc(6 + 4 * phase).sum()}
    assert phases == {0, 1}


def test_objects_are_interpolated_each_within_its_own_slices():
    mask_ZHW = np.zeros((9, 61, 61), bool)
    mask_ZHW[:, :] = disc(8, 12, 12)
    mask_ZHW[3:6] |= disc(8, 45, 45)
    mask_ZHW[8, 45, 45] = True
    volume = Volume(mask_ZHW, (3.0, 1.0, 1.0))
    np.testing.assert_array_equal(wrong("interpolated", volume, 50), mask_ZHW)


def test_nested_structures_share_their_outlined_slices():
    outer = Volume(np.stack([disc(12 + 3 * (z % 2)) for z in range(12)]), (3.0, 1.0, 1.0))
    inner = Volume(np.stack([disc(5 + 3 * (z % 2)) for z in range(12)]), (3.0, 1.0, 1.0))
    changed = [
        (wrong("interpolated", volume, 1.4) != volume.mask_ZHW).any(axis=(1, 2))
        for volume in (outer, inner)
    ]
    assert changed[0].any() and (changed[0] == changed[1]).all()


def test_one_slice_cannot_be_interpolated():
    with pytest.raises(InputError, match=r"interpolated: .* not consecutive or have no spacing"):
        wrong("interpolated", Volume(disc(8)[None], (NAN, 1.0, 1.0)))
