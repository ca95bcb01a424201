"""Errors of whole objects: examples counted by hand, and properties."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from labelnoise.errors import InputError
from labelnoise.labels.objects import omission, spurious
from labelnoise.labels.volume import Draw, LabelVolume

KINDS = {
    "objects": partial(omission, of="objects", size_exponent=0, radius=5),
    "small objects": partial(omission, of="objects", size_exponent=2, radius=5),
    "cases": partial(omission, of="cases", size_exponent=0, radius=5),
    "anywhere": partial(spurious, where="anywhere"),
    "intensity": partial(spurious, where="intensity"),
}
NAN = float("nan")
MM = (1.0, 1.0, 1.0)

kinds = st.sampled_from(sorted(KINDS))
seeds = st.integers(0, 2**32)
several = settings(max_examples=60, deadline=None)


@st.composite
def volumes(draw):
    """Any labels of three classes, and blobs of them, with images."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 14), st.integers(1, 14)))
    any_labels = arrays(np.uint8, shape, elements=st.integers(0, 3))
    labels_ZHW = draw(any_labels | st.builds(scene, seeds, st.just(shape)))
    length = st.sampled_from([0.3, 1.0, 5.0])
    between = draw(length) if shape[0] > 1 else NAN
    images_ZHW = np.random.default_rng(draw(seeds)).normal(size=shape)
    return LabelVolume(labels_ZHW, (between, draw(length), draw(length)), images_ZHW)


def scene(seed, shape):
    noise_ZHW = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), (0, 1, 1))
    return np.digitize(noise_ZHW, [0.2, 0.4, 0.6]).astype(np.uint8)


def wrong(name, volume, severity, seed=0, wanted=None):
    wanted = range(len(volume)) if wanted is None else wanted
    severities = severity if isinstance(severity, dict) else dict.fromkeys((1, 2, 3), severity)
    return KINDS[name](volume, severities, Draw(seed, 0, 0, 0), wanted)


def ball(shape, centre, radius):
    grid = np.indices(shape)
    return sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True)) <= radius**2


def beads(classes=(1,), number=8):
    """Balls of 5 voxels radius in a row, of the given classes in turn."""
    labels_ZHW = np.zeros((13, 13, 13 * number), np.uint8)
    for place in range(number):
        is_bead_ZHW = ball(labels_ZHW.shape, (6, 6, 6 + 13 * place), 5)
        labels_ZHW[is_bead_ZHW] = classes[place % len(classes)]
    return LabelVolume(labels_ZHW, MM)


def organ():
    """A liver of class 1 with a lesion of class 2 inside, in a background."""
    labels_ZHW = np.zeros((20, 40, 40), np.uint8)
    labels_ZHW[3:17, 5:35, 5:35] = 1
    labels_ZHW[ball(labels_ZHW.shape, (10, 15, 20), 4)] = 2
    return LabelVolume(labels_ZHW, MM)


# Every kind


@several
@given(kinds, volumes(), seeds)
def test_severity_0_is_the_identity(name, volume, seed):
    np.testing.assert_array_equal(wrong(name, volume, 0, seed), volume.labels_ZHW)


@several
@given(kinds, volumes(), seeds, st.floats(0, 1))
def test_any_labels_give_new_ones_and_are_left_alone(name, volume, seed, severity):
    before_ZHW = volume.labels_ZHW.copy()
    wrong_ZHW = wrong(name, volume, severity, seed)
    assert wrong_ZHW.dtype == np.uint8 and wrong_ZHW.shape == before_ZHW.shape
    assert not np.shares_memory(wrong_ZHW, volume.labels_ZHW)
    assert set(np.unique(wrong_ZHW)) <= set(np.unique(before_ZHW)) | {0}
    np.testing.assert_array_equal(volume.labels_ZHW, before_ZHW)


@several
@given(kinds, volumes(), seeds, st.floats(0, 1))
def test_a_slice_alone_is_what_it_is_among_others(name, volume, seed, severity):
    all_ZHW = wrong(name, volume, severity, seed)
    for position in (len(volume) - 1, 0):
        fresh = LabelVolume(volume.labels_ZHW, volume.spacing_3, volume.images_ZHW)
        alone = wrong(name, fresh, severity, seed, wanted=np.array([position]))
        np.testing.assert_array_equal(alone[0], all_ZHW[position])


@several
@given(kinds, volumes(), seeds, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_severity_changes_what_a_smaller_one_does_and_more(name, volume, seed, one, other):
    # Of one structure: an island in a lesion that becomes the organ may be of the organ itself.
    volume = LabelVolume(np.minimum(volume.labels_ZHW, 1), volume.spacing_3, volume.images_ZHW)
    small, large = (wrong(name, volume, each, seed) for each in sorted((one, other)))
    assert not ((small != volume.labels_ZHW) & (large == volume.labels_ZHW)).any()


def test_seeds_and_cases_and_volumes_decide():
    numbers = [(seed, number, first) for seed in (0, 1) for number in (0, 1) for first in (0, 1)]
    for name, volume, severities in [("objects", beads(), {1: 0.5}), ("anywhere", organ(), {2: 3})]:
        draws = [Draw(*each, 0) for each in numbers]
        drawn = {KINDS[name](volume, severities, draw, range(13)).tobytes() for draw in draws}
        assert len(drawn) > 5
    volume, severities = beads(), {1: 0.5}
    of_cases = [KINDS["cases"](volume, severities, Draw(0, 0, 5, case), [6]) for case in range(20)]
    assert {each.any() for each in of_cases} == {True, False}
    for first in range(20):  # volumes of one case are left out together
        again = KINDS["cases"](volume, severities, Draw(0, 0, first, 3), [6])
        np.testing.assert_array_equal(again, of_cases[3])


# Omission


def test_objects_are_left_out_whole_with_the_probability_of_the_severity():
    volume = beads()
    left = []
    for seed in range(60):
        wrong_ZHW = wrong("objects", volume, 0.3, seed)
        sizes = [(wrong_ZHW[..., 13 * place : 13 * place + 13] > 0).sum() for place in range(8)]
        assert set(sizes) <= {0, (volume.labels_ZHW[..., :13] > 0).sum()}
        left.append(np.count_nonzero(sizes))
    assert np.mean(left) == pytest.approx(8 * 0.7, abs=4 * np.sqrt(8 * 0.21 / 60))


def test_small_objects_are_left_out_more_often_and_by_the_rule():
    labels_ZHW = np.zeros((1, 200, 200), np.uint8)
    labels_ZHW[:, 5:15, 5:15] = 1  # of the radius of a disc of 100 px, 5.64 px
    labels_ZHW[:, 60:160, 60:160] = 1  # ten times that
    for length, radius in [(1.0, 5.0), (0.5, 5.0), (0.5, 2.5)]:
        volume = LabelVolume(labels_ZHW, (NAN, length, length))
        kind = partial(omission, of="objects", size_exponent=1, radius=radius)
        small = 1 - 0.8 ** (radius / length / 5.642)
        drawn = [kind(volume, {1: 0.2}, Draw(seed, 0, 0, 0), [0])[0] for seed in range(400)]
        large = 1 - (1 - small) ** 0.1
        for chance, place in [(small, (8, 8)), (large, (80, 80))]:
            share = np.mean([each[place] == 0 for each in drawn])
            assert share == pytest.approx(chance, abs=4 * np.sqrt(chance * (1 - chance) / 400))


def test_a_lesion_left_out_becomes_the_organ_and_an_organ_background():
    volume = organ()
    labels_ZHW = volume.labels_ZHW
    without_lesion = wrong("objects", volume, {1: 0, 2: 1})
    np.testing.assert_array_equal(without_lesion, labels_ZHW > 0)
    without_organ = wrong("objects", volume, {1: 1, 2: 0})
    np.testing.assert_array_equal(without_organ, np.where(labels_ZHW == 2, 2, 0))
    for name in ("objects", "cases"):
        assert not wrong(name, volume, {1: 1, 2: 1}).any()


def test_the_larger_part_of_the_surface_decides():
    # A slab of class 2 between class 1 and background.
    labels_ZHW = np.zeros((1, 10, 12), np.uint8)
    labels_ZHW[0, :4, 1:11] = 1
    labels_ZHW[0, 4:6, 1:11] = 2
    volume = LabelVolume(labels_ZHW, (NAN, 1.0, 1.0))
    # 10 faces to class 1; to the background 10 below and 2 at either side.
    assert not wrong("objects", volume, {2: 1})[0, 4:6].any()
    labels_ZHW[0, :6, [0, 11]] = 1
    volume = LabelVolume(labels_ZHW, (NAN, 1.0, 1.0))
    assert (wrong("objects", volume, {2: 1})[0, 4:6] == 1).all()
    # A voxel between two slices of class 1: faces count by their area in mm.
    labels_ZHW = np.zeros((3, 3, 3), np.uint8)
    labels_ZHW[[0, 2]] = 1
    labels_ZHW[1, 1, 1] = 2
    for spacing_3, around in [((5.0, 1.0, 1.0), 0), ((1.0, 5.0, 5.0), 1)]:
        assert wrong("objects", LabelVolume(labels_ZHW, spacing_3), {2: 1})[1, 1, 1] == around


def test_an_object_that_fills_its_volume_becomes_background():
    volume = LabelVolume(np.full((2, 5, 5), 1, np.uint8), MM)
    assert not wrong("objects", volume, {1: 1}).any()


# Spurious


def test_copies_are_as_the_object_and_touch_nothing():
    labels_ZHW = np.zeros((8, 60, 60), np.uint8)
    labels_ZHW[2:5, 10:14, 10:13] = 1
    labels_ZHW[2, 13, 13] = 1  # an L, to be known from its mirror images
    volume = LabelVolume(labels_ZHW, (2.0, 1.0, 1.0))
    found, places = 0, []
    for seed in range(60):
        wrong_ZHW = wrong("anywhere", volume, 1.0, seed)
        assert (wrong_ZHW[labels_ZHW == 1] == 1).all()
        parts, number = ndimage.label(wrong_ZHW, np.ones((3, 3, 3)))
        sizes = np.bincount(parts.ravel())[1:]
        assert (labels_ZHW[parts == parts[2, 10, 10]] == 1).all()  # the object stands alone
        assert (sizes >= 37).all() and sizes.sum() <= 37 * (1 + 8)
        found += number - 1
        places += ndimage.find_objects(parts)
    assert found == pytest.approx(60, abs=4 * np.sqrt(60))
    starts = {axis: {box[axis].start for box in places} for axis in range(3)}
    assert len(starts[0]) > 3 and len(starts[1]) > 20 and len(starts[2]) > 20


def test_a_lesion_is_copied_into_the_organ():
    volume = organ()
    added = 0
    for seed in range(20):
        wrong_ZHW = wrong("anywhere", volume, {1: 1.0, 2: 2.0}, seed)
        changed = wrong_ZHW != volume.labels_ZHW
        assert (volume.labels_ZHW[changed] == 1).all() and (wrong_ZHW[changed] == 2).all()
        added += changed.any()
    assert added > 10


def test_a_copy_lands_where_the_image_is_as_bright_as_the_object():
    labels_ZHW = np.zeros((1, 40, 80), np.uint8)
    labels_ZHW[0, 10:14, 10:14] = 1
    images_ZHW = np.zeros(labels_ZHW.shape)
    images_ZHW[0, :, :40] = np.where(np.indices((40, 40)).sum(axis=0) % 2, 0.9, 1.1)
    volume = LabelVolume(labels_ZHW, (NAN, 1.0, 1.0), images_ZHW)
    seen = {
        name: sum(wrong(name, volume, 3.0, seed)[0] for seed in range(30)) > 0
        for name in ("intensity", "anywhere")
    }
    assert not seen["intensity"][:, 42:].any() and seen["intensity"][20:, 20:35].any()
    assert seen["anywhere"][:, 45:].any()


def test_an_object_without_room_has_no_copies():
    np.testing.assert_array_equal(
        wrong("anywhere", beads(number=1), 50.0), beads(number=1).labels_ZHW
    )


def test_intensity_without_images_is_refused():
    with pytest.raises(InputError, match=r"`where: intensity` needs images"):
        wrong("intensity", beads(), 1.0)
