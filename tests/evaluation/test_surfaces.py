"""HD95 and surface Dice: counted by hand, against circles and spheres, and against SimpleITK."""

import math

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter

from labelnoise.data.storage import UNKNOWN_SPACING, Dataset, write_dataset
from labelnoise.evaluation.surfaces import (
    Geometry,
    SurfaceScores,
    compare_surfaces,
    geometry,
    surface_table,
)

MISSING = float("nan")
# The diagonal of half a pixel: the length of the outline that cuts off its corner.
CORNER = math.sqrt(0.5)


def square(top, left, side, size=40):
    mask_HW = np.zeros((size, size), bool)
    mask_HW[top : top + side, left : left + side] = True
    return mask_HW


def compare(reference, predicted, spacing=(MISSING, 1, 1), tolerance=1.0, volumetric=False):
    """Compare slices (or one slice) in 2-D, unless told otherwise."""
    shape = (-1, *reference.shape[-2:])
    masks = reference.reshape(shape), predicted.reshape(shape)
    return compare_surfaces(*masks, spacing, tolerance, volumetric)


def test_a_shifted_square_counted_by_hand():
    # The outline of a square of 7 pixels is 4 cut corners and 24 sides. Moved right by 2, of each
    # outline 10 sides and 2 corners lie on the other, 4 sides are 1 off; the rest is 2 off.
    scores = compare(square(9, 9, 7), square(9, 11, 7))
    assert scores.hd95 == 2
    assert scores.surface_dice == pytest.approx((14 + 2 * CORNER) / (24 + 4 * CORNER))


@pytest.mark.parametrize(
    ("spacing", "hd95", "within"),
    [
        # Of the 14 sides near enough before, the 2 that stand are now 3 off, or 1 by the columns.
        ((MISSING, 3, 0.5), 1, 12 * 0.5),
        # Here the 2 that lie are 3 off.
        ((MISSING, 0.5, 3), 6, 10 * 3 + 2 * 0.5),
    ],
)
def test_rows_and_columns_have_spacings_of_their_own(spacing, hd95, within):
    scores = compare(square(9, 9, 7), square(9, 11, 7), spacing, tolerance=0.5)
    corner = math.hypot(*spacing[1:]) / 2
    length = 12 * spacing[1] + 12 * spacing[2] + 4 * corner
    assert scores.hd95 == hd95
    assert scores.surface_dice == pytest.approx((within + 2 * corner) / length)


def test_elements_count_by_their_size():
    # All round by one pixel: only the outer corners are more than 1 off. They are 4 of 68 elements,
    # over 5 %, but of 64 sides and 4 cut corners only 4.2 % by length.
    scores = compare(square(9, 9, 15), square(8, 8, 17))
    assert scores.hd95 == 1
    inner, outer = 56 + 4 * CORNER, 64 + 4 * CORNER
    assert scores.surface_dice == pytest.approx((inner + 64) / (inner + outer))


def test_the_larger_direction_decides_hd95():
    # No element of the speck is more than 1 from the square's, most of the square's are far off.
    whole, speck = square(9, 9, 10), square(9, 9, 1)
    assert compare(speck, whole).hd95 == compare(whole, speck).hd95 > 9


@pytest.mark.parametrize("volumetric", [False, True])
def test_equal_masks_are_at_no_distance(volumetric):
    masks = np.stack([square(9, 9, 7), square(0, 0, 40), square(20, 3, 1)])
    scores = compare(masks, masks.copy(), (3, 1, 1), 0.001, volumetric)
    assert scores == SurfaceScores(0, 1)


def test_a_volume_shifted_along_its_slices():
    block = np.zeros((8, 40, 40), bool)
    block[2:4, 5:35, 5:35] = True
    scores = compare(block, np.roll(block, 1, axis=0), (5, 1, 1), 4.9, volumetric=True)
    assert scores.hd95 == 5 and 0 < scores.surface_dice < 1
    moved = compare(block, np.roll(block, 1, axis=0), (5, 1, 1), 5, volumetric=True)
    assert moved.surface_dice == 1


def test_masks_that_are_both_empty_have_no_score():
    empty = np.zeros((2, 6, 8), bool)
    for volumetric in (False, True):
        scores = compare(empty, empty, (1, 1, 1), 1, volumetric)
        assert math.isnan(scores.hd95) and math.isnan(scores.surface_dice)


def test_a_missed_structure_is_as_far_off_as_can_be():
    found, empty = np.zeros((2, 6, 8), bool), np.zeros((2, 6, 8), bool)
    found[0, 2:4, 2:4] = True
    for masks in ((found, empty), (empty, found)):
        # 6 x 0.5 by 8 x 0.5 is 3 by 4 mm, and 2 slices are 12 mm.
        flat = compare(*masks, (6, 0.5, 0.5), 1000, volumetric=False)
        assert flat == SurfaceScores(5, 1)
        deep = compare(*masks, (6, 0.5, 0.5), 12, volumetric=True)
        assert deep == SurfaceScores(13, 0)


def test_the_elements_of_all_slices_are_pooled():
    empty, speck = np.zeros((40, 40), bool), square(30, 30, 1)
    reference = np.stack([square(9, 9, 7), speck, empty])
    predicted = np.stack([square(9, 11, 7), empty, empty])
    # The speck is 4 cut corners, 9.5 % of the reference's outlines, and misses by the diagonal.
    scores = compare(reference, predicted)
    assert scores.hd95 == pytest.approx(40 * math.sqrt(2))
    within, length = 14 + 2 * CORNER, 24 + 4 * CORNER
    assert scores.surface_dice == pytest.approx(2 * within / (2 * length + 4 * CORNER))
    # Two squares more make it less than 5 %.
    more = [np.concatenate([masks, masks[:1], masks[:1]]) for masks in (reference, predicted)]
    assert compare(*more).hd95 == 2


def test_a_distance_equal_to_the_tolerance_is_within_it_whatever_its_rounding():
    # As a float32, 0.4 is more than 0.4.
    spacing = np.array([MISSING, 0.4, 0.4], np.float32)
    assert compare(square(9, 9, 7), square(9, 14, 7), spacing, 2.0).surface_dice == 1
    assert compare(square(9, 9, 7), square(9, 14, 7), spacing, 1.99).surface_dice < 1


@pytest.mark.parametrize("step", [0.1, 0.3, 0.7, 0.9])
def test_95_of_100_parts_are_95_percent_whatever_their_rounding(step):
    reference = np.stack([square(9, 9, 7)] * 20)
    predicted = reference & (np.arange(20) > 0)[:, None, None]
    assert compare(reference, predicted, (MISSING, step, step)).hd95 == 0


def test_masks_of_other_shapes_or_types_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 40, 40\) and \(2, 40, 40\)"):
        compare(square(9, 9, 7), np.stack([square(9, 9, 7)] * 2))
    with pytest.raises(ValueError, match="bool"):
        compare(square(9, 9, 7).astype(np.uint8), square(9, 9, 7).astype(np.uint8))


masks = arrays(bool, (3, 5, 6), elements=st.booleans(), fill=st.nothing())
spacings = st.tuples(*[st.floats(0.1, 10)] * 3)


@settings(max_examples=60, deadline=None)
@given(masks, masks, spacings, st.floats(0.1, 10), st.booleans())
def test_scores_are_symmetric_and_in_range(first, second, spacing, tolerance, volumetric):
    scores = compare(first, second, spacing, tolerance, volumetric)
    other = compare(second, first, spacing, tolerance, volumetric)
    found = (scores.hd95, scores.surface_dice)
    assert found == pytest.approx((other.hd95, other.surface_dice), nan_ok=True)
    if first.any() or second.any():
        assert 0 <= scores.hd95 <= math.hypot(3 * spacing[0], 5 * spacing[1], 6 * spacing[2])
        assert 0 <= scores.surface_dice <= 1


@settings(max_examples=60, deadline=None)
@given(masks, masks, spacings, st.floats(0.1, 10), st.floats(0.1, 10), st.booleans())
def test_scores_follow_the_unit(first, second, spacing, tolerance, scale, volumetric):
    before = compare(first, second, spacing, tolerance, volumetric)
    scaled = tuple(scale * length for length in spacing)
    after = compare(first, second, scaled, scale * tolerance, volumetric)
    assert after.hd95 == pytest.approx(scale * before.hd95, nan_ok=True)
    assert after.surface_dice == pytest.approx(before.surface_dice, nan_ok=True)


def ball(shape, spacing, radius, offset=0.0):
    """A disc or ball around the middle, shifted along its first axis."""
    places = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing, strict=True)]
    places[0] = places[0] - offset
    return sum(place**2 for place in np.meshgrid(*places, indexing="ij")) < radius**2


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((300, 150), (0.5, 0.7)),
        ((150, 300), (0.9, 0.35)),
        ((52, 120, 100), (2.5, 0.8, 1)),
        ((140, 70, 50), (0.9, 1.5, 2.2)),
    ],
)
def test_shifted_discs_and_balls_have_the_distances_of_geometry(shape, spacing):
    radius, offset = 36.0, 20.0
    reference, predicted = (ball(shape, spacing, radius, shift) for shift in (-10, 10))
    # By angle a circle's length is uniform, by the cosine of the angle a sphere's area.
    along = np.linspace(-1, 1, 100_001)
    cosine = along if len(shape) == 3 else np.cos(np.pi * along)
    distances = np.abs(np.sqrt(radius**2 + offset**2 - 2 * radius * offset * cosine) - radius)
    # The library's distances are between corners of pixels, which are up to half a pixel's
    # diagonal off the smooth surface: the shares are those of a tolerance as much off, but for
    # 0.01, as sizes are a little too large where the surface is oblique.
    blur = math.hypot(*spacing) / 2
    volumetric = len(shape) == 3
    spacing_3 = spacing if volumetric else (MISSING, *spacing)
    for tolerance in (4.0, 8.0, 12.0):
        scores = compare(reference, predicted, spacing_3, tolerance, volumetric)
        assert scores.hd95 == pytest.approx(np.quantile(distances, 0.95), abs=blur)
        low, high = ((distances <= tolerance + sign * blur).mean() for sign in (-1, 1))
        assert low - 0.01 < scores.surface_dice < high + 0.01


def blob(shape, spacing, seed):
    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = gaussian_filter(noise, [6 / step for step in spacing])
    places = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing, strict=True)]
    away = np.sqrt(sum(place**2 for place in np.meshgrid(*places, indexing="ij")))
    return away < 20 + 3 * smooth / smooth.std()


def pixel_distances(reference, predicted, spacing):
    """Distances in mm between the centres of boundary pixels, each way, by SimpleITK."""
    contours = []
    for mask in (reference, predicted):
        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        image.SetSpacing(spacing[::-1])
        contours.append(sitk.LabelContour(image))
    maps = [
        sitk.Abs(sitk.SignedMaurerDistanceMap(contour, squaredDistance=False, useImageSpacing=True))
        for contour in contours
    ]
    on = [sitk.GetArrayFromImage(contour) > 0 for contour in contours]
    return [sitk.GetArrayFromImage(maps[1 - way])[on[way]] for way in (0, 1)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((96, 80), (0.8, 1.1)),
        ((96, 60), (0.7, 1.4)),
        ((24, 64, 64), (3.0, 1.1, 0.9)),
        ((30, 60, 48), (2.5, 1.0, 1.3)),
    ],
)
def test_scores_are_near_those_of_simpleitk(shape, spacing, seed):
    """Tools differ in what a boundary is (Podobnik and Vrtovec, arXiv 2410.02630).

    Here SimpleITK takes the centres of boundary pixels, all of one weight; ours are corners of
    pixels, weighted by the size of the surface there. Both ends of a distance can thus differ by
    half a pixel's diagonal, and shares by the distances in between and the weights.
    """
    reference, predicted = blob(shape, spacing, 2 * seed), blob(shape, spacing, 2 * seed + 1)
    ways = pixel_distances(reference, predicted, spacing)
    volumetric = len(shape) == 3
    spacing_3 = spacing if volumetric else (MISSING, *spacing)
    scores = compare(reference, predicted, spacing_3, 4.0, volumetric)
    expected = max(np.quantile(way, 0.95) for way in ways)
    assert scores.hd95 == pytest.approx(expected, abs=math.hypot(*spacing) / 2)
    assert scores.surface_dice == pytest.approx((np.concatenate(ways) <= 4).mean(), abs=0.1)


LABELS_HW = np.zeros((40, 40), np.uint8)
LABELS_HW[5:12, 5:12], LABELS_HW[20:27, 20:27] = 1, 2


def write(path, spacing, slices, names=("b", "a"), source="volumes"):
    """Write a dataset whose test cases have these spacings and slice numbers, in this order."""
    about = {"class_names": ["background", "one", "two"], "provenance": {"source": source}}
    with write_dataset(path, name="x", window=(0, 1), **about) as writer:
        known = zip(["t", "v", *names], [spacing[0]] * 2 + spacing, [[0]] * 2 + slices, strict=True)
        for (case, step, numbers), split in zip(
            known, ["train", "validation", "test", "test"], strict=True
        ):
            labels = np.stack([np.roll(LABELS_HW, number, axis=0) for number in numbers])
            writer.append(case, split, numbers, labels / 2.0, labels, step)
    return Dataset(path)


KNOWN = (3.0, 0.5, 0.5)


@pytest.mark.parametrize(
    ("spacing", "slices", "expected"),
    [
        ([KNOWN, KNOWN], [[4, 5, 6], [1, 0]], ("mm", True)),
        ([KNOWN, KNOWN], [[4, 6], [0, 1]], ("mm", False)),
        ([KNOWN, KNOWN], [[4, 5], [0]], ("mm", False)),
        ([KNOWN, (MISSING, 0.5, 0.5)], [[4, 5], [0, 1]], ("mm", False)),
        ([KNOWN, (0.0, 0.5, 0.5)], [[4, 5], [0, 1]], ("mm", False)),
        ([KNOWN, (3.0, 0.5, MISSING)], [[4, 5], [0, 1]], ("px", False)),
        ([KNOWN, (3.0, 0.0, 0.5)], [[4, 5], [0, 1]], ("px", False)),
        ([KNOWN, (3.0, math.inf, 0.5)], [[4, 5], [0, 1]], ("px", False)),
        ([UNKNOWN_SPACING] * 2, [[4, 5], [0, 1]], ("px", False)),
    ],
)
def test_what_is_known_of_all_cases_decides_unit_and_dimension(tmp_path, spacing, slices, expected):
    data = write(tmp_path / "x.h5", spacing, slices)
    assert geometry(data, data.rows("test")) == Geometry(*expected)


@pytest.mark.parametrize("source", ["mni152", "phantom"])
def test_slabs_are_compared_slice_by_slice(tmp_path, source):
    data = write(tmp_path / "x.h5", [KNOWN, KNOWN], [[4, 5], [0, 1]], source=source)
    assert geometry(data, data.rows("test")) == Geometry("mm", False)


def test_only_the_rows_asked_for_decide(tmp_path):
    data = write(tmp_path / "x.h5", [KNOWN, UNKNOWN_SPACING], [[4, 5, 6], [0, 1]])
    first = data.rows("test")[:3]
    assert geometry(data, first) == Geometry("mm", True)
    assert geometry(data, first[[0, 2]]) == Geometry("mm", False)


def as_classes(labels_NHW):
    return np.stack([labels_NHW == index for index in range(3)], axis=1)


@pytest.mark.parametrize(("spacing", "volumetric"), [(KNOWN, True), (UNKNOWN_SPACING, False)])
def test_the_table_has_the_scores_of_each_case_and_structure(tmp_path, spacing, volumetric):
    data = write(tmp_path / "x.h5", [spacing] * 2, [[4, 5], [2, 0, 1]])
    # Slices 2, 1 and 0 of case a and between them 5 and 4 of case b.
    rows = data.rows("test")[[2, 1, 4, 0, 3]]
    labels_NHW = data.read_labels(rows)
    predicted = as_classes(np.roll(labels_NHW, 2, axis=2))
    predicted[:, 2] &= (data.case[rows] == "b")[:, None, None]
    table = pd.DataFrame(surface_table(data, rows, predicted, {"two": 0.25, "*": 1.0}))
    assert table["case"].tolist() == ["a", "a", "b", "b"]
    assert table["structure"].tolist() == ["one", "two"] * 2
    assert table["class_index"].tolist() == [1, 2] * 2
    assert table["tolerance"].tolist() == [1.0, 0.25] * 2
    assert table["unit"].tolist() == ["mm" if volumetric else "px"] * 4
    assert table["volumetric"].tolist() == [volumetric] * 4
    in_order = {"a": [4, 2, 0], "b": [3, 1]}
    for line in table.itertuples():
        slices = in_order[line.case]
        masks = labels_NHW[slices] == line.class_index, predicted[slices, line.class_index]
        spacing_3 = spacing if volumetric else (1, 1, 1)
        expected = compare_surfaces(*masks, spacing_3, line.tolerance, volumetric)
        assert SurfaceScores(line.hd95, line.surface_dice) == expected
    # Two columns of 0.5 mm, or of one pixel; of the last structure nothing is predicted in case a.
    diagonal = math.hypot(9, 20, 20) if volumetric else 40 * math.sqrt(2)
    step = 1 if volumetric else 2
    assert table["hd95"].tolist() == pytest.approx([step, diagonal, step, step])
    assert table["surface_dice"][1] == 0


def test_predictions_for_other_rows_are_refused(tmp_path):
    data = write(tmp_path / "x.h5", [KNOWN] * 2, [[4, 5], [0, 1]])
    rows = data.rows("test")
    predicted = as_classes(data.read_labels(rows))
    with pytest.raises(ValueError, match=r"\(4, 2, 40, 40\), expected \(4, 3, 40, 40\)"):
        surface_table(data, rows, predicted[:, 1:], {"*": 1.0})
