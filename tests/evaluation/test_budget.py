"""The curve of test Dice over cases and label errors, and the plans that it gives."""

from math import inf, isinf

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from budgets import BUDGET, CURVE, FLAT, GROUPS, NUMBERS, study
from labelnoise.evaluation import budget
from labelnoise.evaluation.budget import (
    Curve,
    bounds,
    cases_for,
    fit_curve,
    plan,
    resampled,
    study_budget,
)

ERRORS = list(CURVE.ends)
CELLS = [(number, error) for number in NUMBERS for error in ERRORS]
CASES = np.array([number for number, _ in CELLS], float)
NAMES = [error for _, error in CELLS]
# Dice of n cases is 1 - 0.4 / n, less 0.05 with poor labels; 0.95 - 0.8 / n with rough ones.
BY_HAND = Curve(
    "good",
    1.0,
    {"good": 1.0, "poor": 0.95, "rough": 0.95},
    {"good": 0.4, "poor": 0.4, "rough": 0.8},
)


@pytest.fixture
def few_samples(monkeypatch):
    monkeypatch.setattr(budget, "SAMPLES", 40)


def dice_of(curve):
    return np.array([float(curve.dice(number, error)) for number, error in CELLS])


@pytest.mark.parametrize("power", [0.1, 0.5, 1.0, 3.0])
def test_a_known_curve_is_found_again(power):
    ends = {"control": 0.93, "thick-0.90": 0.91, "thick-0.80": 0.92}
    scales = {"control": 0.2, "thick-0.90": 0.3, "thick-0.80": 0.0}
    found = fit_curve(CASES, NAMES, dice_of(Curve("control", power, ends, scales)), "control")
    assert found.power == pytest.approx(power, rel=1e-3)
    assert found.ends == pytest.approx(ends, abs=2e-3)
    assert found.scales == pytest.approx(scales, abs=2e-3)
    assert found.offset("thick-0.90") == pytest.approx(0.02, abs=1e-3)
    assert found.is_identified


def test_a_fit_to_noise_misses_no_more_than_that_of_another_library():
    rng = np.random.default_rng(3)
    dice_K = dice_of(CURVE) + rng.normal(0, 0.003, len(CELLS))
    weights_K = rng.uniform(0.2, 1, len(CELLS))
    is_of_K3 = np.array([[name == error for error in ERRORS] for name in NAMES], float)

    def model(cases, power, *ends_and_scales):
        return is_of_K3 @ ends_and_scales[:3] - is_of_K3 @ ends_and_scales[3:] * cases**-power

    start = (1.0, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1)
    other, _ = curve_fit(model, CASES, dice_K, start, sigma=weights_K**-0.5)
    found = fit_curve(CASES, NAMES, dice_K, "control", weights_K)
    ours = [found.power, *found.ends.values(), *found.scales.values()]
    misfits = [(weights_K * (model(CASES, *each) - dice_K) ** 2).sum() for each in (ours, other)]
    assert misfits[0] <= misfits[1] * (1 + 1e-6)


def test_no_dice_is_above_one_and_none_falls_with_cases():
    # A straight line against the logarithm would rise without end.
    rising_K = 0.5 + 0.12 * np.log2(CASES) / 1.25
    rising = fit_curve(CASES, NAMES, rising_K, "control")
    assert max(rising.ends.values()) <= 1
    # The best line through that end.
    left_K = rising_K - dice_of(rising)
    assert (left_K * CASES**-rising.power).sum() == pytest.approx(0, abs=1e-9)
    falling = fit_curve(CASES, NAMES, 0.9 - 0.01 * np.log2(CASES), "control")
    assert set(falling.scales.values()) == {0} and not falling.is_identified
    assert not fit_curve(CASES, NAMES, np.full(len(CELLS), 0.9), "control").is_identified


def test_no_labels_end_above_the_best():
    ends = {"control": 0.9, "thick-0.90": 0.95, "thick-0.80": 0.85}
    scales = {"control": 0.1, "thick-0.90": 0.6, "thick-0.80": 0.2}
    dice_K = dice_of(Curve("control", 1.0, ends, scales))
    found = fit_curve(CASES, NAMES, dice_K, "control")
    assert found.ends["thick-0.90"] == found.ends["control"]
    assert found.offset("thick-0.90") == 0 < found.offset("thick-0.80")
    # Its line goes through that end, as near to its cells as such a line can.
    left_K = (dice_K - dice_of(found)) * [name == "thick-0.90" for name in NAMES]
    assert (left_K * CASES**-found.power).sum() == pytest.approx(0, abs=1e-9)


def test_two_numbers_of_cases_make_no_curve():
    with pytest.raises(ValueError, match="three numbers"):
        fit_curve(np.array([2, 4]), ["control"] * 2, np.array([0.8, 0.9]), "control")


def test_lines_of_equal_dice_by_hand():
    assert BY_HAND.dice([4, 8], "good") == pytest.approx([0.9, 0.95])
    # 8 poor cases give 0.90, as 4 good ones do; 4 good ones cost 8 poor ones.
    assert BY_HAND.worth(8, "poor", "good") == pytest.approx(4)
    assert BY_HAND.worth(4, "good", "poor") == pytest.approx(8)
    # 8 good cases give 0.95, which is where the curve of poor ones ends.
    assert BY_HAND.worth(8, "good", "poor") == inf
    assert BY_HAND.worth(5, "good", "good") == 5
    # 16 rough cases give 0.9 as well; few of them are worth less than few poor ones.
    assert BY_HAND.worth(16, "rough", "good") == pytest.approx(4)
    assert BY_HAND.worth(16, "rough", "poor") == pytest.approx(8)
    assert BY_HAND.offset("rough") == BY_HAND.offset("poor") == pytest.approx(0.05)


def test_cases_for_a_wanted_dice_by_hand():
    """8 cases give 0.9; 0.95 is the end, which none reaches; a flat curve is there at once."""
    np.testing.assert_allclose(cases_for([0.9, 0.95, 0.99], 0.95, 0.4, 1), [8, inf, inf])
    np.testing.assert_allclose(cases_for(0.9, [0.9, 0.8], 0, 1), [0, inf])


def test_plans_by_hand():
    assert (plan(BY_HAND, "good", 0.9, 30).cases, plan(BY_HAND, "good", 0.9, 30).price) == (4, 120)
    assert plan(BY_HAND, "good", 0.91, 1).cases == 5
    assert plan(BY_HAND, "poor", 0.96, 1) == budget.Plan("poor", inf, inf)
    assert plan(BY_HAND, "poor", 0.96, 0).price == inf
    # 4 cases are more than may be said.
    assert plan(BY_HAND, "good", 0.9, 30, most=3).price == inf


@given(
    st.floats(0.3, 2),
    st.lists(
        st.tuples(st.integers(800, 1000), st.integers(0, 500), st.floats(1, 100)),
        min_size=2,
        max_size=4,
    ),
    st.integers(700, 980),
)
def test_the_cheapest_plan_is_that_of_brute_force(power, errors, wanted):
    # In thousandths, and between them, as no curve just touches a Dice.
    wanted = wanted / 1000 + 0.0005
    errors = [(end / 1000, scale / 1000, price) for end, scale, price in errors]
    ends, scales, prices = (
        {str(at): error[part] for at, error in enumerate(errors)} for part in range(3)
    )
    curve = Curve("0", power, ends, scales)
    ours = min(plan(curve, name, wanted, prices[name], 500).price for name in prices)
    cases = np.arange(1, 501)
    # A hair below, as the number of cases is rounded up from where both are equal.
    tried = [
        number * prices[name]
        for name in prices
        for number in cases[curve.dice(cases, name) >= wanted - 1e-12]
    ]
    assert ours == pytest.approx(min(tried, default=inf))


def test_scores_drawn_again_are_pooled_over_pixels_and_averaged_over_repeats():
    names = {"dataset": "d", "structure": "s", "model": "m", "recipe": "r", "perturbation": "e"}
    rows = [
        {**names, "repeat": repeat, "case": case, "tp": tp, "fp": fp, "fn": 0.0, "tn": 9.0}
        for repeat, case, tp, fp in [
            (0, "a", 3.0, 2.0),
            (0, "b", 1.0, 2.0),
            (1, "a", 3.0, 2.0),
            (1, "b", 1.0, 0.0),
        ]
    ]
    cells = pd.DataFrame([{**names, "number": 2}])
    dice_SK, own_K, weights_K = resampled(cells, pd.DataFrame(rows), samples=200)
    # 8 / 12 and 8 / 10.
    assert own_K == pytest.approx([(2 / 3 + 0.8) / 2])
    assert weights_K == pytest.approx([1])
    # A repeat twice or each once, a case twice or each once.
    a, b = 6 / 8, (2 / 4, 1.0)
    expected = {a, *b, sum(b) / 2, 2 / 3, 0.8, (2 / 3 + 0.8) / 2}
    assert {round(value, 9) for value in dice_SK[:, 0]} == {round(value, 9) for value in expected}


def test_bounds_are_values_even_infinite_ones():
    assert bounds([*range(1, 40), inf]) == (1, inf)
    assert bounds(list(range(1001))) == (25, 975)
    assert np.isnan(bounds([])).all()


def test_a_study_gives_back_its_curve_and_the_cheapest_plan(few_samples):
    surface, plans, curves = study_budget(*study(), BUDGET, GROUPS)
    assert len(surface) == 15 and (surface["test_cases"] == 6).all()
    assert (surface["residual"].abs() < 0.01).all()
    by_error = plans.set_index("perturbation")
    assert by_error["ends_at"].to_dict() == pytest.approx(CURVE.ends, abs=0.005)
    offsets = {error: CURVE.offset(error) for error in ERRORS}
    assert by_error["offset"].to_dict() == pytest.approx(offsets, abs=0.005)
    assert by_error["scale"].to_dict() == pytest.approx(CURVE.scales, abs=0.02)
    for name in ("power", "ends_at", "scale", "offset", "worth"):
        assert (plans[f"{name}_low"] <= plans[name] + 1e-12).all()
        assert (plans[name] <= plans[f"{name}_high"] + 1e-12).all()
    # By the known curve 5.2 cases at 80, 9.9 at 35, and never.
    assert by_error["price"].idxmin() == "thick-0.90" and by_error["cheapest"].sum() == 1
    assert by_error.loc["thick-0.90", "cheapest"] and plans["identified"].all()
    assert isinf(by_error.loc["thick-0.80", "cases"]) and by_error.loc["thick-0.80", "extrapolated"]
    assert not by_error.loc["control", "extrapolated"]
    # 32 of them give 0.9178, as 2.6 of the best do.
    assert by_error.loc["thick-0.80", "worth"] == pytest.approx(2.6, abs=0.4)
    assert surface.set_index(["perturbation", "cases"]).loc[("control", 8), "price"] == 8 * 80
    assert (curves["extrapolated"] == (curves["cases"] > 32)).all()
    assert curves["cases"].max() == 4 * 32 and (curves["low"] <= curves["high"]).all()


def test_a_number_outside_those_measured_is_extrapolated(few_samples):
    _, plans, _ = study_budget(*study(), {**BUDGET, "wanted": 0.9585}, GROUPS)
    rows = plans.set_index("perturbation")
    assert rows.loc["thick-0.90", "cases"] > 32 or isinf(rows.loc["thick-0.90", "cases"])
    assert rows.loc["thick-0.90", "extrapolated"] and not rows.loc["control", "extrapolated"]
    _, plans, _ = study_budget(*study(), {**BUDGET, "wanted": 0.8}, GROUPS)
    assert plans["extrapolated"].all() and (plans["cases"] < 2).all()


def test_scores_that_do_not_rise_say_so(few_samples):
    _, plans, _ = study_budget(*study(FLAT), BUDGET, GROUPS)
    assert not plans["identified"].any()


def test_one_repeat_and_one_case_have_no_interval(few_samples):
    surface, plans, curves = study_budget(*study(repeats=1, test_cases=1), BUDGET, GROUPS)
    assert plans[["price_low", "offset_high"]].isna().all(axis=None)
    assert surface["low"].isna().all() and curves["low"].isna().all()
