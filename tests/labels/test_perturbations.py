"""Label errors: examples counted by hand, properties, and agreement with plain loops."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from scipy.interpolate import CubicSpline

import label_oracle
from labelnoise.errors import InputError
from labelnoise.labels import perturbations
from labelnoise.labels.perturbations import KINDS, choppy, draw_labels, natural, perturb, random

SEVERITIES = {"control": 3.0, "natural": 1.5, "choppy": 1.5, "random": 0.3}

masks = arrays(
    np.uint8,
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
    elements=st.integers(0, 1),
)
seeds = st.integers(0, 2**32)
several = settings(max_examples=60, deadline=None)


def generator(seed=0):
    return np.random.default_rng(seed)


def disc(size, row, column, radius):
    y, x = np.mgrid[:size, :size]
    return (np.hypot(y - row, x - column) <= radius).astype(np.uint8)


def scene(seed, size=48):
    """Blobs of all sizes with holes, islands in them, corners that touch; some reach the edge."""
    noise_HW = generator(seed).normal(size=(size, size))
    smooth_HW = ndimage.gaussian_filter(noise_HW, 1 + seed % 4)
    return (smooth_HW > np.quantile(smooth_HW, 0.6)).astype(np.uint8)


class GivenOffsets:
    """Stands in for a generator: its normal draws are offsets that the test chose."""

    def __init__(self, offsets):
        self.offsets = offsets

    def normal(self, mean, sd, shape):
        return np.reshape(self.offsets, shape).astype(float)


# Every kind


@several
@given(masks, st.sampled_from(KINDS), seeds)
def test_severity_0_is_the_identity(mask_HW, kind, seed):
    np.testing.assert_array_equal(perturb(mask_HW, kind, 0, generator(seed), 0.1), mask_HW)


@several
@given(masks, st.sampled_from(KINDS), seeds, st.floats(0, 1))
def test_any_mask_gives_a_new_binary_mask_and_keeps_the_input(mask_HW, kind, seed, share):
    before_HW = mask_HW.copy()
    severity = share if kind == "random" else 20 * share
    wrong_HW = perturb(mask_HW, kind, severity, generator(seed), 0.4)
    assert wrong_HW.dtype == np.uint8 and wrong_HW.shape == mask_HW.shape
    assert wrong_HW.max() <= 1
    assert not np.shares_memory(wrong_HW, mask_HW)
    np.testing.assert_array_equal(mask_HW, before_HW)


@pytest.mark.parametrize("kind", ["natural", "choppy", "random"])
def test_the_seed_decides(kind):
    mask_HW = disc(32, 16, 16, 9)
    first, again, other = (
        perturb(mask_HW, kind, SEVERITIES[kind], generator(seed), 0.2) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("kind", KINDS)
def test_views_into_larger_arrays_are_read_as_they_look(kind):
    stack_NHW = np.stack([scene(0), scene(1)])
    view_HW = stack_NHW.transpose(2, 1, 0)[::2, :, 1]
    for_view, for_copy = (
        perturb(mask_HW, kind, SEVERITIES[kind], generator(), 0.4)
        for mask_HW in (view_HW, view_HW.copy())
    )
    np.testing.assert_array_equal(for_view, for_copy)


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"'nature'.*control, natural, choppy, random"):
        perturb(disc(8, 4, 4, 2), "nature", 1, generator())


@pytest.mark.parametrize("kind", ["natural", "choppy", "random"])
@pytest.mark.parametrize(
    ("mask", "severity", "says"),
    [
        (5 * disc(9, 4, 4, 3), 1.0, "the mask holds 5, expected 0 and 1 alone"),
        (-disc(9, 4, 4, 3).astype(int), 1.0, "the mask holds -1, expected 0 and 1 alone"),
        (np.zeros((2, 3, 4), np.uint8), 1.0, r"an array \(2, 3, 4\) of uint8, expected an array"),
        (np.ones((3, 4)), 1.0, r"an array \(3, 4\) of float64, expected"),
        ([[0, 1]], 1.0, "the mask is list, expected"),
        (disc(9, 4, 4, 3), float("nan"), "the severity is nan, expected a finite number"),
        (disc(9, 4, 4, 3), float("inf"), "the severity is inf"),
        (disc(9, 4, 4, 3), -1, "the severity is -1"),
    ],
)
def test_what_is_no_mask_or_no_severity_is_refused(kind, mask, severity, says):
    with pytest.raises(InputError, match=says):
        perturb(mask, kind, severity, generator(), 0.1)
    own = getattr(perturbations, kind)
    with pytest.raises(InputError, match=says):
        own(mask, severity, generator(), *([0.1] if kind == "random" else []))


def test_a_probability_above_1_is_refused():
    with pytest.raises(InputError, match=r"random: the severity is 1\.5, a probability"):
        random(disc(9, 4, 4, 3), 1.5, generator(), 0.1)


# Natural


@several
@given(masks, seeds)
def test_a_shift_far_below_a_pixel_changes_nothing(mask_HW, seed):
    # Also where pixels touch at a corner alone, and where holes and the slice's edge are near.
    np.testing.assert_array_equal(natural(mask_HW, 1e-7, generator(seed)), mask_HW)


@pytest.mark.parametrize("seed", range(12))
def test_natural_agrees_with_row_by_row_tests_against_the_contours(seed):
    mask_HW = scene(seed)
    severity = (0.3, 1.0, 3.0, 30.0)[seed % 4]
    ours_HW = natural(mask_HW, severity, generator(seed))
    np.testing.assert_array_equal(ours_HW, label_oracle.natural(mask_HW, severity, generator(seed)))
    assert (ours_HW != mask_HW).any()


@several
@given(masks, seeds, st.floats(0.05, 10))
@example(np.ones((9, 1), np.uint8), 0, 9.0)
def test_natural_agrees_with_the_oracle_on_any_mask(mask_HW, seed, severity):
    # Where a contour collapses onto a pixel's centre, the last bit of a sum decides.
    distance_HW = label_oracle.distance_to_contours(mask_HW, severity, generator(seed))
    is_decided_HW = distance_HW > 1e-9
    expected_HW = label_oracle.natural(mask_HW, severity, generator(seed))
    ours_HW = natural(mask_HW, severity, generator(seed))
    np.testing.assert_array_equal(ours_HW[is_decided_HW], expected_HW[is_decided_HW])


@pytest.mark.parametrize(("shift", "side"), [(0, 5), (1, 7), (2, 9), (-1, 3), (-2, 1)])
def test_equal_draws_grow_a_square_by_hand_countable_rings(shift, side):
    mask_HW = np.zeros((15, 15), np.uint8)
    mask_HW[5:10, 5:10] = 1
    wrong_HW = natural(mask_HW, 1, GivenOffsets([shift] * 5))
    # The middle row and column meet the square's sides at right angles, so they move by the shift.
    assert wrong_HW[7].sum() == side and wrong_HW[:, 7].sum() == side
    np.testing.assert_array_equal(wrong_HW, wrong_HW[::-1, ::-1])


def test_a_small_disc_neither_flips_nor_grows_without_bound():
    mask_HW = disc(64, 32, 32, 3)
    areas = [natural(mask_HW, 40, generator(seed)).sum() for seed in range(50)]
    # Twice the radius is four times the area; pixels at the rim add some.
    assert max(areas) <= 4 * mask_HW.sum() + 2 * 2 * np.pi * 7
    farthest = natural(mask_HW, 1, GivenOffsets([1000] * 5))
    assert farthest.sum() == pytest.approx(4 * mask_HW.sum(), rel=0.1)
    assert natural(mask_HW, 1, GivenOffsets([-1000] * 5)).sum() <= 1


def test_holes_stay_holes():
    mask_HW = disc(64, 32, 32, 22) & (1 - disc(64, 30, 33, 8))
    for seed in range(20):
        wrong_HW = natural(mask_HW, 1, generator(seed))
        assert wrong_HW[30, 33] == 0
        _, regions = ndimage.label(1 - wrong_HW)
        assert regions == 2  # the outside and the hole


def test_objects_that_grow_into_each_other_unite():
    mask_HW = disc(40, 20, 12, 6) | disc(40, 20, 27, 6)
    wrong_HW = natural(mask_HW, 1, GivenOffsets([5] * 10))
    grown = [natural(disc(40, 20, c, 6), 1, GivenOffsets([5] * 5)) for c in (12, 27)]
    assert (grown[0] & grown[1]).any()
    np.testing.assert_array_equal(wrong_HW, grown[0] | grown[1])


def test_a_hole_is_cut_out_of_its_own_object_alone():
    ring_HW = disc(48, 24, 24, 16) & (1 - disc(48, 24, 24, 8))
    island_HW = disc(48, 24, 24, 4)
    # The hole grows by nothing, the island inside it by 2, both objects' outlines stay closed.
    wrong_HW = natural(ring_HW | island_HW, 1, GivenOffsets([0] * 10 + [2] * 5))
    expected_HW = ring_HW | natural(island_HW, 1, GivenOffsets([2] * 5))
    np.testing.assert_array_equal(wrong_HW, expected_HW)


def test_a_hole_that_outgrows_its_object_leaves_the_next_one_whole():
    ring_HW = disc(48, 24, 16, 8) & (1 - disc(48, 24, 16, 6))
    next_HW = disc(48, 24, 33, 6)
    assert (natural(1 - disc(48, 24, 16, 6), 1, GivenOffsets([0] * 5 + [99] * 5)) < next_HW).any()
    wrong_HW = natural(ring_HW | next_HW, 1, GivenOffsets([0] * 5 + [99] * 5 + [0] * 5))
    np.testing.assert_array_equal(wrong_HW, next_HW)


def test_the_displacement_has_the_severity_for_its_standard_deviation_at_the_knots():
    mask_HW = disc(256, 128, 128, 90)
    outlines = perturbations.trace(mask_HW)
    start = outlines.contours.points_P2[0] - 128
    moves = []
    for seed in range(400):
        draws_K5 = generator(seed).normal(0, 5, (1, 5))
        moved = perturbations._displace(outlines, draws_K5)[0] - 128
        moves.append(np.hypot(*moved) - np.hypot(*start))
        assert moves[-1] == pytest.approx(draws_K5[0, 0])
    assert np.std(moves) == pytest.approx(5, rel=0.1)


def test_the_outline_stays_smooth_where_the_curve_closes():
    outlines = perturbations.trace(disc(256, 128, 128, 90))
    position_P = outlines.interval_P + outlines.along_P
    draws_K5 = np.array([[4.0, -3.0, 2.0, 5.0, -6.0]])
    shift_P = perturbations._spline(draws_K5, outlines)
    slope_P = np.diff(shift_P) / np.diff(position_P)
    # The slope nowhere jumps, the seam from the last point to the first included.
    assert np.abs(np.diff(slope_P, append=slope_P[0])).max() < 1
    assert np.ptp(slope_P) > 20


# Choppy


def test_ends_move_by_rounded_offsets():
    mask_HW = np.array([[0, 0, 0, 1, 1, 1, 0, 0, 0, 0]], np.uint8)
    wrong_HW = choppy(mask_HW, 1, GivenOffsets([-1.6, 2.4]))
    np.testing.assert_array_equal(wrong_HW, [[0, 1, 1, 1, 1, 1, 1, 1, 0, 0]])


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ([0, 2, 0, 0], [0, 1, 1, 1, 1, 1, 1, 0]),  # the first reaches the second: they unite
        ([0, 5, -3, 0], [0, 1, 1, 1, 1, 1, 1, 1]),  # they overlap
        ([2, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1, 0]),  # the first run's ends meet: it vanishes
        ([9, -9, 0, 0], [0, 0, 0, 0, 0, 1, 1, 0]),  # ... or cross
        ([-9, 0, 0, 9], [1, 1, 1, 0, 0, 1, 1, 1]),  # clipped at the borders
    ],
)
def test_runs_unite_vanish_and_are_clipped(offsets, expected):
    mask_HW = np.array([[0, 1, 1, 0, 0, 1, 1, 0]], np.uint8)
    np.testing.assert_array_equal(choppy(mask_HW, 1, GivenOffsets(offsets)), [expected])


@pytest.mark.parametrize("seed", range(12))
def test_choppy_agrees_with_walking_along_every_row(seed):
    mask_HW = scene(seed)
    severity = (0.4, 1.0, 3.0, 30.0)[seed % 4]
    expected_HW = label_oracle.choppy(mask_HW, severity, generator(seed))
    np.testing.assert_array_equal(choppy(mask_HW, severity, generator(seed)), expected_HW)


def test_an_object_at_the_right_edge_and_in_all_rows_is_perturbed_everywhere():
    mask_HW = np.zeros((40, 40), np.uint8)
    mask_HW[:, 20:] = 1
    wrong_HW = sum(choppy(mask_HW, 3, generator(seed)) != mask_HW for seed in range(30))
    assert wrong_HW.any(axis=1).all()  # the first and the last row too
    assert wrong_HW[:, 39].any()


def test_the_sixth_run_of_a_row_is_there():
    mask_HW = np.zeros((1, 70), np.uint8)
    for begin in range(5, 70, 10):
        mask_HW[0, begin : begin + 5] = 1
    offsets = np.zeros((7, 2))
    offsets[5] = -1, 2
    wrong_HW = choppy(mask_HW, 1, GivenOffsets(offsets))
    expected_HW = mask_HW.copy()
    expected_HW[0, 54:62] = 1
    np.testing.assert_array_equal(wrong_HW, expected_HW)


def test_choppy_is_unbiased():
    mask_HW = np.zeros((200, 100), np.uint8)
    mask_HW[:, 30:70] = 1
    wrong_NHW = np.stack([choppy(mask_HW, 4, generator(seed)) for seed in range(20)])
    # 4000 rows: each border's mean lies within 4 standard errors, 4 x 4 / sqrt(4000) px.
    assert wrong_NHW[:, :, :50].sum(axis=2).mean() == pytest.approx(20, abs=0.25)
    assert wrong_NHW[:, :, 50:].sum(axis=2).mean() == pytest.approx(20, abs=0.25)


# Random


def test_random_flips_both_classes_at_their_rates_and_keeps_the_balance():
    mask_HW = disc(256, 128, 128, 60)
    fraction = mask_HW.mean()
    flips_NHW = np.stack(
        [random(mask_HW, 0.1, generator(seed), fraction) != mask_HW for seed in range(20)]
    )
    foreground = mask_HW.astype(bool)
    number = 20 * foreground.sum()
    error = 4 * np.sqrt(number * 0.1)  # 4 standard deviations of either number of flips
    assert flips_NHW[:, foreground].sum() == pytest.approx(0.1 * number, abs=error)
    assert flips_NHW[:, ~foreground].sum() == pytest.approx(0.1 * number, abs=error)


def test_every_pixel_flips_as_often_as_in_the_plain_loop():
    mask_HW = np.array([[1, 1, 0, 0, 0], [0, 1, 0, 0, 0]], np.uint8)
    number = 4000
    ours, loop = (
        np.mean([flip(mask_HW, 0.6, generator(s), 0.3) != mask_HW for s in range(number)], axis=0)
        for flip in (random, label_oracle.random)
    )
    expected = np.where(mask_HW == 1, 0.6, 0.6 * 0.3 / 0.7)
    np.testing.assert_allclose(ours, expected, atol=4 * 0.5 / number**0.5)
    np.testing.assert_allclose(loop, expected, atol=4 * 0.5 / number**0.5)


def test_pixels_flip_independently():
    mask_HW = np.zeros((2, 3), np.uint8)
    flips = np.array([random(mask_HW, 0.5, generator(s), 0.5).ravel() for s in range(4000)])
    correlation = np.corrcoef(flips.T) - np.eye(6)
    assert np.abs(correlation).max() < 4.5 / 4000**0.5
    assert np.var(flips.sum(axis=1)) == pytest.approx(6 / 4, rel=0.1)


def test_random_at_its_limits():
    mask_HW = disc(16, 8, 8, 4)
    np.testing.assert_array_equal(random(mask_HW, 1, generator(), 0.5), 1 - mask_HW)
    assert random(mask_HW, 1, generator(), 0).sum() == 0


@pytest.mark.parametrize(
    ("severity", "fraction", "message"),
    [
        (0.9, 0.6, r"probability 1.35, above 1.*at most 0.6667"),
        (0.1, 1.0, r"foreground fraction is 1.0"),
        (0.1, None, r"foreground fraction is None"),
    ],
)
def test_impossible_rates_are_refused(severity, fraction, message):
    with pytest.raises(InputError, match=message):
        random(disc(8, 4, 4, 2), severity, generator(), fraction)


# Labels of several structures


def two_classes():
    """3 slices: class 1 a disc, class 2 a disc inside it; the last slice is empty."""
    labels_NHW = np.zeros((3, 32, 32), np.uint8)
    for labels_HW in labels_NHW[:2]:
        labels_HW[disc(32, 16, 16, 10) == 1] = 1
        labels_HW[disc(32, 14, 18, 4) == 1] = 2
    return labels_NHW


def draw_two(labels_NHW, kind, severities, rows, draw=0, seed=7):
    return draw_labels(labels_NHW, kind, severities, {1: 0.2, 2: 0.05}, seed, draw, rows)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_at_severity_0_are_the_reference(kind):
    labels_NHW = two_classes()
    drawn_NHW = draw_two(labels_NHW, kind, {1: 0.0, 2: 0.0}, [0, 1, 2])
    np.testing.assert_array_equal(drawn_NHW, labels_NHW)
    assert not np.shares_memory(drawn_NHW, labels_NHW)


@pytest.mark.parametrize("kind", ["natural", "choppy", "random"])
def test_any_slice_of_any_draw_can_be_made_alone(kind):
    labels_NHW, severities = two_classes(), {1: SEVERITIES[kind], 2: SEVERITIES[kind]}
    before_NHW = labels_NHW.copy()
    together = draw_two(labels_NHW, kind, severities, [4, 9, 11], draw=3)
    alone = draw_two(labels_NHW[1:2], kind, severities, [9], draw=3)
    np.testing.assert_array_equal(together[1:2], alone)
    np.testing.assert_array_equal(labels_NHW, before_NHW)
    assert (together[0] != together[1]).any()  # equal references, other rows
    for other in ({"draw": 4}, {"draw": 3, "seed": 8}):
        assert (draw_two(labels_NHW[1:2], kind, severities, [9], **other) != alone).any()


def test_a_pixel_goes_to_the_highest_class_that_claims_it():
    labels_NHW = np.array([[[1, 1, 2, 2, 0, 0]]], np.uint8)
    # Class 1 stays; class 2 is redrawn by the slice's own generator.
    for row in range(20):
        rng = np.random.default_rng(np.random.SeedSequence([7, 0, row]))
        wrong_HW = choppy((labels_NHW[0] == 2).astype(np.uint8), 2, rng)
        expected_HW = np.where(wrong_HW == 1, 2, labels_NHW[0] == 1)
        drawn_NHW = draw_two(labels_NHW, "choppy", {1: 0.0, 2: 2.0}, [row])
        np.testing.assert_array_equal(drawn_NHW[0], expected_HW)


def test_a_class_without_a_severity_is_refused_and_not_lost():
    with pytest.raises(ValueError, match="row 5: labels up to 2"):
        draw_two(two_classes()[:1], "natural", {1: 1.0}, [5])


def test_large_seeds_differ():
    labels_NHW = two_classes()[:1]
    drawn = [draw_two(labels_NHW, "random", {1: 0.3, 2: 0.3}, [0], seed=s) for s in (2**62, 2**63)]
    assert (drawn[0] != drawn[1]).any()


@pytest.mark.parametrize(("radius", "severity", "grown"), [(8, 5, 1.29), (16, 5, 1.09)])
def test_natural_grows_discs_as_its_docstring_says(radius, severity, grown):
    rows, columns = np.indices((64, 64)) - 31.5
    disc = (rows**2 + columns**2 <= radius**2).astype(np.uint8)
    rng = np.random.default_rng(0)
    sizes = [natural(disc, severity, rng).sum() / disc.sum() for _ in range(600)]
    assert np.mean(sizes) == pytest.approx(grown, abs=3 * np.std(sizes) / np.sqrt(600))


def test_the_displacement_of_natural_is_094_of_its_severity_between_the_knots():
    """By SciPy's spline: a curve is the draws times five basis curves."""
    places = np.linspace(0, 5, 5000, endpoint=False)
    basis = [
        CubicSpline(np.arange(6), [*unit, unit[0]], bc_type="periodic")(places)
        for unit in np.eye(5)
    ]
    assert np.sqrt(np.square(basis).sum(axis=0).mean()) == pytest.approx(0.94, abs=0.005)
