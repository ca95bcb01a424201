"""Grids and resizing: hand-countable examples, and labels that follow their images."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from labelnoise.data import resize
from labelnoise.data.resize import fit_grid
from labelnoise.errors import InputError


def resize_images(images_SHW, size):
    return resize.resize_images(images_SHW, fit_grid(images_SHW.shape[1:], size=size))


def resize_labels(labels_SHW, size, rule="majority"):
    return resize.resize_labels(labels_SHW, fit_grid(labels_SHW.shape[1:], size=size), rule)


def disc(height, width, row, column, radius):
    rows, columns = np.indices((height, width))
    return ((rows - row) ** 2 + (columns - column) ** 2 < radius**2).astype(np.uint8)


def test_padding_by_hand():
    padded = fit_grid((2, 5), size=5).pad(np.ones((1, 2, 5), np.uint8), 0)
    expected = np.zeros((5, 5), np.uint8)
    expected[1:3] = 1
    np.testing.assert_array_equal(padded[0], expected)
    assert fit_grid((4, 4), size=2).pad(np.ones((2, 4, 4)), 0).shape == (2, 4, 4)


def test_halving_is_the_mean_of_four():
    image = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    np.testing.assert_array_equal(resize_images(image, 2)[0], [[2.5, 4.5], [10.5, 12.5]])


def test_shrinking_by_a_fraction_weighs_by_area():
    # Three pixels into two: each new one is a whole pixel and half of the middle one.
    image = np.array([[[0, 3, 9]] * 3], np.float32)
    np.testing.assert_allclose(resize_images(image, 2)[0], [[1, 7], [1, 7]], rtol=1e-6)


def test_growing_is_linear():
    image = np.array([[[0, 4], [0, 4]]], np.float32)
    np.testing.assert_allclose(resize_images(image, 4)[0], [[0, 1, 3, 4]] * 4)


@given(st.integers(4, 40), st.integers(1, 40), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_shrinking_keeps_the_mean(old, new, seed):
    image = np.random.default_rng(seed).uniform(-1, 1, (2, old, old)).astype(np.float32)
    size = min(old, new)
    np.testing.assert_allclose(
        resize_images(image, size).mean((1, 2)), image.mean((1, 2)), atol=1e-6
    )


def test_shrinking_does_not_alias():
    stripes = np.tile(np.float32([0, 1]), (1, 64, 32))
    # Taking single pixels would give 0 or 1; a mean over 3.2 pixels is off by 0.125 at most.
    np.testing.assert_allclose(resize_images(stripes, 20), 0.5, atol=0.126)


@pytest.mark.parametrize("rule", ["area", "majority"])
@pytest.mark.parametrize("size", [20, 33, 64, 100])
def test_labels_keep_their_fractions(size, rule):
    rows, columns = np.indices((64, 64))
    labels = np.zeros((1, 64, 64), np.uint8)
    labels[0][(rows - 30) ** 2 + (columns - 33) ** 2 < 20**2] = 1
    labels[0][(rows - 30) ** 2 + (columns - 33) ** 2 < 10**2] = 2
    resized = resize_labels(labels, size, rule)
    for index in range(3):
        expected = np.mean(labels == index)
        assert np.mean(resized == index) == pytest.approx(expected, abs=0.012)


def test_majority_goes_to_the_class_with_most_area():
    labels = np.array([[[0, 1, 1], [2, 2, 1], [2, 0, 0]]], np.uint8)
    # Areas of the only new pixel: three ninths each, so the highest index wins.
    assert resize_labels(labels, 1)[0, 0, 0] == 2
    labels[0, 1, 0] = 1
    assert resize_labels(labels, 1)[0, 0, 0] == 1


@pytest.mark.parametrize("offset", range(4))
def test_majority_keeps_a_thin_line_at_half_size_wherever_it_lies(offset):
    labels = np.zeros((1, 8, 8), np.uint8)
    labels[0, 2 + offset] = 1
    resized = resize_labels(labels, 4)
    assert resized[0].any(axis=0).all() and resized.sum() == 4


@pytest.mark.parametrize("size", [4, 8, 12])
def test_images_and_labels_stay_aligned(size):
    labels = np.zeros((1, 8, 8), np.uint8)
    labels[0, 2:6, 4:] = 1
    resized = resize_images(labels.astype(np.float32), size)
    np.testing.assert_array_equal(resize_labels(labels, size), resized >= 0.5)


@pytest.mark.parametrize("rule", ["area", "majority"])
def test_same_size_is_the_identity(rule):
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (2, 9, 9)).astype(np.float32)
    labels = rng.integers(0, 4, (2, 9, 9)).astype(np.uint8)
    np.testing.assert_array_equal(resize_images(image, 9), image)
    np.testing.assert_array_equal(resize_labels(labels, 9, rule), labels)


# Labels that keep their areas


@given(st.integers(8, 40), st.integers(4, 40), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_area_of_a_structure_is_kept_to_half_a_pixel(old, size, seed):
    rng = np.random.default_rng(seed)
    labels = np.zeros((2, old, old), np.uint8)
    for _ in range(6):
        row, column, radius = (*rng.uniform(0, old, 2).tolist(), rng.uniform(0.5, old / 3))
        labels[rng.integers(2)] |= disc(old, old, row, column, radius)
    size = min(size, old)
    found = resize_labels(labels, size, "area").sum((1, 2))
    exact = labels.sum((1, 2)) * (size / old) ** 2
    assert (np.abs(found - exact) <= 0.5 + 1e-5).all()


@pytest.mark.parametrize("size", [32, 48])
def test_structures_that_touch_keep_their_areas(size):
    # Thirty cells without any background between them.
    rows, columns = np.indices((128, 128))
    errors = {"area": [], "majority": []}
    for seed in range(3):
        centres = np.random.default_rng(seed).uniform(0, 128, (30, 2))
        away = (rows[..., None] - centres[:, 0]) ** 2 + (columns[..., None] - centres[:, 1]) ** 2
        labels = away.argmin(axis=-1).astype(np.uint8)
        exact = np.bincount(labels.ravel(), minlength=30) * (size / 128) ** 2
        for rule, found in errors.items():
            resized = resize_labels(labels[None], size, rule)
            found += np.abs(np.bincount(resized.ravel(), minlength=30) - exact)[1:].tolist()
    # Rounding alone makes a mean of 0.25.
    assert np.mean(errors["area"]) < 0.35 and np.mean(errors["majority"]) > 0.9


def test_area_takes_the_pixels_with_the_largest_shares():
    labels = np.zeros((1, 8, 8), np.uint8)
    # At half size it fills one new pixel, three quarters of a second and a quarter of a third.
    labels[0, 2:4, 2:4] = 1
    labels[0, 2:4, 4] = 1
    labels[0, 2, 5] = 1
    labels[0, 4, 2] = 1
    expected = np.zeros((4, 4), np.uint8)
    expected[1, 1:3] = 1
    np.testing.assert_array_equal(resize_labels(labels, 4, "area")[0], expected)


@pytest.mark.parametrize("pixels", range(1, 17))
def test_a_speck_survives_from_half_a_new_pixel_on(pixels):
    # A quarter of the size: 16 old pixels are a new one, and these lie around a corner of four.
    labels = np.zeros((1, 16, 16), np.uint8)
    block = np.zeros(16, np.uint8)
    block[:pixels] = 1
    labels[0, 6:10, 6:10] = block.reshape(4, 4)
    assert resize_labels(labels, 4, "area").sum() == (pixels >= 8)
    # Where each of four new pixels has at most a quarter, majority drops all of it.
    assert resize_labels(labels, 4).sum() == 0


@pytest.mark.parametrize("row", range(8))
def test_a_thin_line_becomes_dashes_spread_over_its_length(row):
    labels = np.zeros((1, 64, 64), np.uint8)
    labels[0, row] = 1
    resized = resize_labels(labels, 16, "area")[0]
    # A quarter of the 16 new pixels along it, no two neighbours and no gap of half its length.
    columns = np.flatnonzero(resized.any(axis=0))
    assert resized.sum() == len(columns) == 4
    assert np.diff(columns).min() >= 2 and np.diff(columns).max() < 8


def test_boundaries_of_large_structures_do_not_move():
    labels = disc(256, 256, 128.3, 127.1, 80)[None]
    by_area, by_majority = (resize_labels(labels, 64, rule) for rule in ("area", "majority"))
    assert np.sum(by_area != by_majority) <= 12


# Grids


def test_without_size_and_spacing_the_grid_is_the_sources():
    grid = fit_grid((5, 7), (3, 1, 2))
    assert grid.shape == (5, 7)
    np.testing.assert_array_equal(grid.spacing((3, 1, 2)), [3, 1, 2])
    image = np.random.default_rng(0).normal(size=(2, 5, 7)).astype(np.float32)
    np.testing.assert_array_equal(resize.resize_images(image, grid), image)
    assert np.isnan(grid.spacing(None)).all()


@pytest.mark.parametrize("spacing", [None, (5, 0.7, 0.7), (5, 0.7, 0.70001), (np.nan,) * 3])
def test_square_pixels_are_padded_by_whole_ones(spacing):
    assert fit_grid((40, 100), spacing, 64) == fit_grid((40, 100), size=64)
    assert fit_grid((40, 100), spacing, 64).rows.pads == (30, 30)


def test_unsquare_pixels_become_square():
    # 40 rows of 12 mm by 128 columns of 3 mm: 480 x 384 mm, padded to 480 x 480.
    grid = fit_grid((40, 128), (3, 12, 3), 96)
    assert grid.shape == (96, 96)
    np.testing.assert_allclose(grid.spacing((3, 12, 3)), [3, 5, 5])
    assert grid.rows.pads == (0, 0) and grid.columns.pads == (16, 16)


def test_spacing_alone_keeps_the_field_of_view():
    grid = fit_grid((40, 100), (3, 12, 0.7), pixel_mm=(3, 1))
    assert grid.shape == (160, 70)
    np.testing.assert_allclose(grid.spacing((3, 12, 0.7)), [3, 3, 1])
    # 69.65 mm: 70 pixels of 1 mm end 0.175 mm beyond it on both sides.
    columns = fit_grid((40, 99), (3, 12, 0.7), pixel_mm=(3, 1)).columns
    assert columns.new == 69 and columns.pads == (0, 0)
    assert columns.start == pytest.approx((99 * 0.7 - 69) / 2 / 0.7)


def test_the_same_spacing_changes_nothing():
    sides = (0.7421875, 0.68359375)
    assert fit_grid((33, 41), (1, *sides), pixel_mm=sides) == fit_grid((33, 41), (1, *sides))


@pytest.mark.parametrize(("size", "pads"), [(30, (5, 5)), (10, (0, 0))])
def test_spacing_and_size_pad_or_cut_around_the_centre(size, pads):
    image = np.arange(400, dtype=np.float32).reshape(1, 20, 20)
    grid = fit_grid((20, 20), (1, 2, 2), size, (2, 2))
    assert grid.rows.pads == pads
    resized = resize.resize_images(image, grid, padding=-7)[0]
    expected = np.pad(image[0], 5, constant_values=-7) if size == 30 else image[0, 5:15, 5:15]
    np.testing.assert_array_equal(resized, expected)


@given(
    st.tuples(st.integers(5, 60), st.integers(5, 60)),
    st.tuples(st.floats(0.4, 4), st.floats(0.4, 4)),
    st.floats(0.5, 3),
)
@settings(max_examples=40, deadline=None)
def test_places_in_mm_stay_where_they_are(shape, sides, mm):
    """The values are their places in mm from the centre, so each must be that of its pixel."""
    grid = fit_grid(shape, (1, *sides), pixel_mm=(mm, mm))
    # The pixels at the ends are partly padding.
    assume(min(grid.shape) >= 3)
    for axis, side in enumerate(sides):
        from_centre = (np.arange(shape[axis]) - (shape[axis] - 1) / 2) * side
        image = np.broadcast_to(np.expand_dims(from_centre, 1 - axis), shape)[None]
        found = np.moveaxis(resize.resize_images(image, grid)[0], axis, 0)[
            :, grid.shape[1 - axis] // 2
        ]
        places = (np.arange(len(found)) - (len(found) - 1) / 2) * mm
        inner = np.abs(places) < shape[axis] * side / 2 - 2 * max(mm, side)
        np.testing.assert_allclose(found[inner], places[inner], atol=side / 2 + 1e-4)


def test_spacing_of_unknown_pixels_is_refused():
    with pytest.raises(InputError, match="is unknown, but `spacing` needs it"):
        fit_grid((4, 4), None, None, (1, 1))


def test_spacing_that_makes_slices_too_large_is_refused():
    with pytest.raises(InputError, match="makes 10000 pixels of 100 along a side"):
        fit_grid((100, 100), (1, 1, 1), None, (0.01, 1))


# The way back


def restored(map_HW, grid):
    """What `restore_probabilities` makes of one structure's map; the background is the rest."""
    both = np.stack([1 - map_HW, map_HW])[None].astype(np.float32)
    background, structure = resize.restore_probabilities(both, grid)[0]
    np.testing.assert_allclose(background + structure, 1, atol=1e-6)
    return structure


def test_probabilities_on_the_source_s_grid_stay_as_they_are():
    maps = np.random.default_rng(0).random((2, 3, 5, 4), np.float32)
    np.testing.assert_array_equal(resize.restore_probabilities(maps, fit_grid((5, 4))), maps)


def test_restoring_by_hand():
    halved = fit_grid((4, 4), size=2)
    expected = [[0, 0.25, 0.75, 1]] * 4
    np.testing.assert_allclose(restored(np.array([[0, 1], [0, 1]]), halved), expected)
    # Twice as fine: the mean over each pixel of the source.
    doubled = fit_grid((1, 1), size=2)
    np.testing.assert_allclose(restored(np.array([[0, 0.4], [0.2, 1]]), doubled), [[0.4]])
    # Padding is cut off.
    padded = fit_grid((2, 4), size=4)
    map_HW = np.linspace(0, 1, 16).reshape(4, 4)
    np.testing.assert_allclose(restored(map_HW, padded), map_HW[1:3], rtol=1e-6)
    # What was cut off is background.
    cut = fit_grid((1, 4), (1, 1, 1), size=2, pixel_mm=(1, 1))
    np.testing.assert_allclose(restored(np.ones((2, 2)), cut), [[0, 1, 1, 0]])


GRIDS = st.builds(
    lambda height, width, row_mm, column_mm, size, pixel_mm: fit_grid(
        (height, width), (1, row_mm, column_mm), size, pixel_mm and (pixel_mm, pixel_mm)
    ),
    *(st.integers(4, 40),) * 2,
    *(st.floats(0.5, 2),) * 2,
    st.one_of(st.none(), st.integers(4, 60)),
    st.one_of(st.none(), st.floats(0.5, 2)),
)


@given(GRIDS)
@settings(max_examples=60, deadline=None)
def test_restored_probabilities_lie_where_they_came_from(grid):
    # Where no border is near, a ramp moves by no more than the share of a pixel that areas round.
    rows, columns = np.indices(grid.source_shape)
    plane = 0.2 + 0.3 * rows / grid.rows.old + 0.4 * columns / grid.columns.old
    stored = resize.resize_images(plane[None], grid, 0)[0]
    back = restored(stored, grid)
    assert back.shape == grid.source_shape
    assert back.min() >= 0
    assert back.max() <= 1
    inner = np.zeros(grid.source_shape, bool)
    edges = [2 + int(2 * axis.step) + max(0, int(axis.start)) for axis in (grid.rows, grid.columns)]
    inner[edges[0] : -edges[0], edges[1] : -edges[1]] = True
    quarter = (0.3 / grid.rows.old + 0.4 / grid.columns.old) / 4
    np.testing.assert_allclose(back[inner], plane[inner], atol=quarter)
    unseen = ~np.outer(grid.rows.seen(), grid.columns.seen())
    assert (back[unseen] == 0).all()
    assert grid.share_seen == pytest.approx(1 - unseen.mean())


@pytest.mark.parametrize(("size", "pixel_mm"), [(48, None), (80, None), (64, (1.7, 1.7))])
def test_smooth_masks_survive_the_way_there_and_back(size, pixel_mm):
    mask = disc(90, 110, 40, 60, 25)
    grid = fit_grid(mask.shape, (1, 1, 1), size, pixel_mm)
    stored = resize.resize_images(mask[None], grid, 0)[0]
    back = restored(stored, grid) > 0.5
    assert 2 * (back & (mask > 0)).sum() / (back.sum() + mask.sum()) > 0.99
