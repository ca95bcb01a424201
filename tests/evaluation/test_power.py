"""Power against simulation, and the repeats that reach it."""

import numpy as np
import pytest
from scipy import stats

from labelnoise.evaluation.power import (
    CASES_DECIDE,
    POWER,
    UNREACHED,
    power,
    power_within,
    repeats_needed,
    smallest_effect,
    smallest_margin,
    with_repeats,
)
from labelnoise.evaluation.statistics import Layout, intervals, layouts

ERROR, DF, LEVEL = 0.01, 6, 0.02


@pytest.fixture(scope="module")
def drawn():
    """Estimates around 0 and their standard errors."""
    rng = np.random.default_rng(5)
    estimates = rng.normal(0, ERROR, 200_000)
    return estimates, ERROR * np.sqrt(rng.chisquare(DF, 200_000) / DF)


@pytest.mark.parametrize("effect", [0.0, 0.02, -0.05])
def test_power_is_the_share_of_simulated_tests(drawn, effect):
    estimates, errors = drawn
    ts = (estimates + effect) / errors * (1 if effect >= 0 else -1)
    found = (ts > stats.t.isf(LEVEL / 2, DF)).mean()
    assert power(effect, ERROR, DF, LEVEL) == pytest.approx(found, abs=0.004)


@pytest.mark.parametrize(("effect", "margin"), [(0.0, 0.06), (0.02, 0.08), (-0.02, 0.08)])
def test_power_of_two_tests_is_the_share_of_simulated_pairs(drawn, effect, margin):
    estimates, errors = drawn
    bound = stats.t.isf(LEVEL, DF) * errors
    found = (np.abs(estimates + effect) < margin - bound).mean()
    assert power_within(effect, margin, ERROR, DF, LEVEL) == pytest.approx(found, abs=0.004)


@pytest.mark.parametrize("df", [1.0, 2.5, 30.0, np.inf])
def test_the_smallest_effect_is_found_with_the_power_that_it_names(df):
    effect, margin = (of(ERROR, df, LEVEL) for of in (smallest_effect, smallest_margin))
    assert power(effect, ERROR, df, LEVEL) == pytest.approx(POWER, abs=1e-3)
    assert power_within(0, margin, ERROR, df, LEVEL) == pytest.approx(POWER, abs=1e-3)


def test_a_known_value_is_certain():
    assert (power(0.1, 0, 3, LEVEL), power(0, 0, 3, LEVEL)) == (1, 0)
    assert power_within(0, 0.01, 0, 3, LEVEL) == 1 and power_within(0.02, 0.01, 0, 3, LEVEL) == 0
    assert power(1e6, ERROR, 7, LEVEL) == 1


def test_more_repeats_shrink_their_part_alone():
    # Standard deviations .03 between repeats, .02 between cases, .01 residual; 2 repeats, 4 cases.
    layout = Layout(0.1, 2, 4, 9e-4 + 1e-4 / 4, 1, 4e-4 + 1e-4 / 2, 1e-4)
    for repeats in (2, 8, np.inf):
        expected = 9e-4 / repeats + 4e-4 / 4 + 1e-4 / (4 * repeats)
        assert with_repeats(layout, repeats).error()[0] == pytest.approx(np.sqrt(expected))
    assert with_repeats(layout, np.inf).error()[1] == pytest.approx(3)
    assert with_repeats(layout, 8).degrees == 7


def test_repeats_needed_are_the_first_that_simulations_decide():
    layout = Layout(0.0, 2, 60, 4e-4, 1, 1e-5, 0.0)
    needed = int(repeats_needed(layout, lambda error, df: power(0.02, error, df, 0.05)))
    rng, found = np.random.default_rng(6), {}
    for repeats in (needed - 1, needed):
        values = 0.02 + rng.normal(0, 0.02, (3000, repeats, 1))
        values = values + rng.normal(0, np.sqrt(1e-5), (3000, 1, 60))
        tables = [intervals(each[None]).iloc[0] for each in values]
        found[repeats] = np.mean([row["p"] < 0.05 and row["estimate"] > 0 for row in tables])
    assert found[needed - 1] < POWER + 0.02 and found[needed] > POWER - 0.02
    assert found[needed] > found[needed - 1]


def test_what_repeats_cannot_decide_is_said():
    layout = Layout(0.0, 2, 5, 1e-4, 1, 4e-4, 0.0)
    assert repeats_needed(layout, lambda *of: power(0.005, *of, 0.05)) == CASES_DECIDE
    layout = Layout(0.0, 2, 5, 1.0, 1, 1e-8, 0.0)
    assert repeats_needed(layout, lambda *of: power(0.01, *of, 0.05)) == UNREACHED


def test_a_prior_may_be_fitted_to_other_contrasts():
    rng = np.random.default_rng(7)
    fitted_KRC = rng.normal(0, 1, (12, 3, 4))
    quiet = layouts(rng.normal(0, 0.1, (1, 3, 4)), fitted_KRC)[0]
    alone = layouts(rng.normal(0, 0.1, (1, 3, 4)))[0]
    assert quiet.between_repeats > 10 * alone.between_repeats
    assert quiet.degrees > alone.degrees == 2
