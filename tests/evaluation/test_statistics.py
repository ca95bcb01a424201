"""Intervals over repeats and cases: by hand, by simulation, and where values are absent."""

import numpy as np
import pytest
from scipy import optimize, special, stats

from labelnoise.evaluation.statistics import (
    components,
    intervals,
    left_out,
    moderate,
    pooled_ratio_values,
)

# Two repeats of two cases: repeat means 2 and 4, case means 2 and 4, no residual.
ADDITIVE_RC = np.array([[1.0, 3.0], [3.0, 5.0]])


def test_a_layout_that_can_be_counted_by_hand():
    (row,) = intervals(ADDITIVE_RC[None]).to_dict("records")
    # A = var(2, 4) / 2 = 1, B = 1, E = 0.
    assert row["estimate"] == 3
    assert row["standard_error"] == pytest.approx(np.sqrt(2))
    assert row["df"] == pytest.approx(2)
    half = stats.t.ppf(0.975, 2) * np.sqrt(2)
    assert (row["low"], row["high"]) == pytest.approx((3 - half, 3 + half))
    assert row["p"] == pytest.approx(2 * stats.t.sf(3 / np.sqrt(2), 2))


def test_the_residual_is_counted_once():
    """Without any effect, A + B - E falls below A and B, whose larger one is kept."""
    values_RC = np.array([[1.0, 0.0], [0.0, 1.0]])
    (row,) = intervals(values_RC[None]).to_dict("records")
    assert row["standard_error"] == 0 and row["estimate"] == 0.5 and row["p"] == 0
    values_RC = np.array([[2.0, 0.0], [0.0, 0.0]])
    (row,) = intervals(values_RC[None]).to_dict("records")
    # Repeat means 1, 0 and case means 1, 0: A = B = 1/4; residuals of 1/2: E = 1/4.
    assert row["standard_error"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("values_RC", "out", "df"),
    [
        (np.array([[1.0, 2.0, 6.0]]), "repeats", 2),
        (np.array([[1.0], [2.0], [6.0]]), "cases", 2),
    ],
)
def test_one_repeat_or_one_case_leaves_a_plain_t_interval(values_RC, out, df):
    (row,) = intervals(values_RC[None], 0.9).to_dict("records")
    assert left_out(values_RC[None]) == [out]
    low, high = stats.t.interval(0.9, df, 3, stats.sem(values_RC.ravel()))
    assert (row["low"], row["high"], row["df"]) == pytest.approx((low, high, df))


def test_nothing_to_tell_a_spread_from_gives_no_bounds():
    (row,) = intervals(np.array([[[0.7]]])).to_dict("records")
    assert row["estimate"] == 0.7 and np.isnan([row["low"], row["high"], row["p"]]).all()
    (row,) = intervals(np.full((1, 2, 3), np.nan)).to_dict("records")
    assert np.isnan(list(row.values())).all()
    assert left_out(np.array([[[0.7]]])) == ["repeats and cases"]
    assert left_out(ADDITIVE_RC[None]) == [""]


def test_a_case_without_values_does_not_count():
    wide_RC = np.column_stack([ADDITIVE_RC, [np.nan, np.nan]])
    assert intervals(wide_RC[None]).equals(intervals(ADDITIVE_RC[None]))


def test_a_case_absent_from_a_repeat_shifts_no_repeat():
    """Cases differ far more than repeats; the hard case is absent from the first repeat."""
    values_RC = np.array([[1.0, 2.0, np.nan], [1.1, 2.1, 9.1], [1.2, 2.2, 9.2]])
    whole_RC = values_RC.copy()
    whole_RC[0, 2] = 9.0
    partial, whole = (intervals(each[None], 0.95).iloc[0] for each in (values_RC, whole_RC))
    columns = ["estimate", "low", "high", "standard_error"]
    np.testing.assert_allclose(partial[columns], whole[columns], rtol=1e-6)


def test_values_that_do_not_overlap_still_give_a_row():
    values_RC = np.array([[1.0, np.nan], [np.nan, 3.0]])
    (row,) = intervals(values_RC[None]).to_dict("records")
    assert row["estimate"] == 2 and row["low"] < 2 < row["high"]


def test_rows_stand_in_the_order_of_the_contrasts_and_keep_to_their_own_values():
    rng = np.random.default_rng(5)
    values_KRC = rng.normal(rng.normal(size=(20, 1, 1)), 1, (20, 3, 6))
    values_KRC[3, 0], values_KRC[4, :, 2], values_KRC[5] = np.nan, np.nan, np.nan
    table = intervals(values_KRC)
    assert list(table) == ["estimate", "low", "high", "standard_error", "df", "p"]
    assert table.index.tolist() == list(range(20))
    order = rng.permutation(20)
    shuffled = intervals(values_KRC[order][:, ::-1, ::-1])
    np.testing.assert_allclose(shuffled, table.loc[order], atol=1e-12)
    # The same in other units, and about another origin.
    scaled = intervals(100 * values_KRC)
    columns = ["estimate", "low", "high", "standard_error"]
    np.testing.assert_allclose(scaled[columns], 100 * table[columns], atol=1e-10)
    np.testing.assert_allclose(scaled[["df", "p"]], table[["df", "p"]])
    moved = intervals(values_KRC - 7)
    np.testing.assert_allclose(moved[["low", "high"]], table[["low", "high"]] - 7, atol=1e-12)
    # p and interval decide alike.
    known = table.dropna()
    outside = (known["low"] > 0) | (known["high"] < 0)
    assert ((known["p"] < 0.05) == outside).all() and 0 < outside.sum() < len(known)


def test_an_interval_that_narrows_with_confidence():
    values_KRC = np.random.default_rng(6).normal(size=(4, 3, 6))
    wide, narrow = intervals(values_KRC, 0.99), intervals(values_KRC, 0.5)
    assert (wide["low"] < narrow["low"]).all() and (narrow["high"] < wide["high"]).all()
    assert wide["p"].equals(narrow["p"])


def test_no_contrasts_give_no_rows_and_equal_values_no_width():
    assert intervals(np.zeros((0, 2, 3))).empty
    for value, p in ((0.0, 1), (0.25, 0)):
        table = intervals(np.full((4, 2, 3), value))
        assert (table[["estimate", "low", "high"]] == value).all(axis=None)
        assert (table["standard_error"] == 0).all() and (table["p"] == p).all()


def test_equal_variances_are_pooled_and_one_contrast_is_left_alone():
    posterior, degrees = moderate(np.array([4.0]), np.array([1]))
    assert (posterior.tolist(), degrees.tolist()) == ([4.0], [1.0])
    variances = np.array([1.0, 1.1, 0.9, 1.0])
    posterior, degrees = moderate(variances, np.full(4, 2))
    # They differ less than chance has it: one variance, with the degrees of freedom of all.
    assert np.ptp(posterior) == 0 and degrees.tolist() == [8.0] * 4


def test_the_prior_solves_the_moment_equations():
    """Smyth (2004), section 6.2, solved by bracketing in place of Newton's method."""
    rng = np.random.default_rng(7)
    degrees = rng.integers(1, 5, 40)
    variances = 0.3 / rng.chisquare(4, 40) * rng.chisquare(degrees) / degrees
    e = np.log(variances) - special.psi(degrees / 2) + np.log(degrees / 2)
    spread = np.var(e, ddof=1) - special.polygamma(1, degrees / 2).mean()
    half = optimize.brentq(lambda y: special.polygamma(1, y) - spread, 1e-3, 1e6, xtol=1e-12)
    scale = np.exp(e.mean() + special.psi(half) - np.log(half))
    posterior, total = moderate(variances, degrees)
    np.testing.assert_allclose(total, degrees + 2 * half, rtol=1e-6)
    expected = (2 * half * scale + degrees * variances) / (2 * half + degrees)
    np.testing.assert_allclose(posterior, expected, rtol=1e-6)


def test_moderation_finds_the_prior_that_variances_were_drawn_from():
    rng = np.random.default_rng(4)
    prior, prior_degrees, degrees = 2.0, 6.0, 3
    true = prior * prior_degrees / rng.chisquare(prior_degrees, 20_000)
    sample = true * rng.chisquare(degrees, 20_000) / degrees
    posterior, total = moderate(sample, np.full(20_000, degrees))
    assert total[0] - degrees == pytest.approx(prior_degrees, rel=0.1)
    weights = (prior_degrees, degrees)
    expected = (weights[0] * prior + weights[1] * sample) / sum(weights)
    np.testing.assert_allclose(posterior, expected, rtol=0.1)
    # Shrinking pays: nearer to the truth than the sample variances are.
    assert np.abs(np.log(posterior / true)).mean() < 0.7 * np.abs(np.log(sample / true)).mean()


def test_variances_of_zero_and_absent_ones_are_taken():
    variances, degrees = np.array([0.0, 1.0, 2.0, 9.0, np.nan]), np.array([1, 1, 1, 1, 0])
    posterior, total = moderate(variances, degrees)
    assert np.isfinite(posterior[:4]).all() and (posterior[:4] > 0).all()
    assert np.isnan(posterior[4]) and total[4] == 0
    # What does not vary, but for rounding, leaves the prior as it is.
    for constant in (0.0, 1e-30):
        others, _ = moderate(np.array([constant, 1.0, 2.0, 9.0]), np.ones(4, int))
        np.testing.assert_array_equal(others[1:], moderate(variances[1:4], np.ones(3, int))[0])
    posterior, _ = moderate(np.zeros(5), np.ones(5))
    assert posterior.tolist() == [0.0] * 5


def test_components_are_found_again():
    assert components(ADDITIVE_RC[None]).iloc[0].tolist() == pytest.approx([2**0.5, 2**0.5, 0])
    rng = np.random.default_rng(8)
    shape = (500, 6, 10)
    values_KRC = rng.normal(0, 3, (500, 6, 1)) + rng.normal(0, 2, (500, 1, 10))
    found = components(values_KRC + rng.normal(0, 1, shape))
    assert np.sqrt((found**2).mean()).tolist() == pytest.approx([3, 2, 1], rel=0.05)
    assert components(np.ones((1, 1, 3))).isna().all(axis=None)


def test_pooled_values_average_to_the_pooled_score():
    tp_RC, other_RC = np.array([[10.0, 0.0, 3.0], [8.0, 1.0, 4.0]]), np.full((2, 3), 4.0)
    values_RC = pooled_ratio_values(2 * tp_RC, 2 * tp_RC + other_RC)
    expected = 2 * tp_RC.sum(axis=1) / (2 * tp_RC + other_RC).sum(axis=1)
    np.testing.assert_allclose(values_RC.mean(axis=1), expected)
    # A jackknife over cases, exact to first order.
    many_RC = np.tile(tp_RC, (1, 40))
    total = 2 * many_RC + 4
    values_RC = pooled_ratio_values(2 * many_RC, total)
    n = many_RC.shape[1]
    left = [
        2 * np.delete(many_RC[0], case).sum() / np.delete(total[0], case).sum() for case in range(n)
    ]
    jackknife = (n - 1) * np.std(left) / np.sqrt(n - 1)
    assert values_RC[0].std(ddof=1) / np.sqrt(n) == pytest.approx(jackknife, rel=0.01)
    assert np.isnan(pooled_ratio_values(np.zeros((1, 2)), np.zeros((1, 2)))).all()


def test_a_repeat_that_lacks_a_case_is_pooled_over_the_others():
    numerator_RC = np.array([[4.0, 3.0, np.nan], [4.0, 3.0, 9.0]])
    denominator_RC = np.array([[5.0, 5.0, np.nan], [5.0, 5.0, 10.0]])
    values_RC = pooled_ratio_values(numerator_RC, denominator_RC)
    assert np.isnan(values_RC).tolist() == [[False, False, True], [False] * 3]
    assert np.nanmean(values_RC, axis=1) == pytest.approx([0.7, 0.8])


@pytest.mark.parametrize(
    ("contrasts", "confidence"), [(np.zeros((2, 3)), 0.95), (np.zeros((1, 2, 2)), 95)]
)
def test_arguments_out_of_range_are_refused(contrasts, confidence):
    with pytest.raises(ValueError, match=r"axes|confidence"):
        intervals(contrasts, confidence)
