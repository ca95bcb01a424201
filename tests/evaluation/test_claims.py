"""Claims: verdicts of studies with known truths, of null studies, and of studies with gaps."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from drawn_runs import CASES, REPEATS, tables
from labelnoise.evaluation.claims import (
    LEVEL,
    NUMBERS,
    Question,
    ask,
    decide,
    holm,
    judge,
    moderated,
    slope_scale,
)
from labelnoise.study import Claim

UNET = {"dataset": "lis", "model": "unet", "recipe": "labels18"}
COSTS = Claim("costs", "costs", **UNET, error="natural-0.90")
HARMLESS = Claim("harmless", "harmless", **UNET, error="natural-0.90", margin=0.01)
WORSE = Claim(
    "worse",
    "worse",
    **UNET | {"model": "segnet"},
    error="natural-0.90",
    than=("unet", "labels18", "natural-0.90"),
)
SLOPE = Claim("slope", "slope", **UNET, error="natural", above=1.0)


def verdicts(claims, study, repeats=REPEATS):
    return judge(claims, *study, repeats).set_index("claim")


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        (0.08, {"costs": "supported", "harmless": "refuted", "slope": "undecided"}),
        (-0.08, {"costs": "refuted", "harmless": "undecided", "slope": "refuted"}),
        ({"unet": 0.0, "segnet": 0.2}, {"costs": "undecided", "worse": "supported"}),
        ({"unet": 0.2, "segnet": 0.0}, {"worse": "refuted", "slope": "supported"}),
    ],
)
def test_large_effects_are_decided_by_their_side(lost, expected):
    found = verdicts([COSTS, HARMLESS, WORSE, SLOPE], tables(lost, cases=20))
    assert {name: found.loc[name, "verdict"] for name in expected} == expected
    assert (found["gap"] == "").all() and (found["low"] < found["high"]).all()
    assert ((found["repeats_needed"] == "") == (found["verdict"] != "undecided")).all()


def test_a_harmless_error_is_told_from_one_of_which_little_is_known():
    assert verdicts([HARMLESS], tables(cases=20)).loc["harmless", "verdict"] == "undecided"
    found = verdicts([HARMLESS], tables(cases=20, noise=0.1)).loc["harmless"]
    assert found["verdict"] == "supported" and found["smallest_effect"] < 0.01


def test_two_one_sided_tests_by_hand():
    (question,) = ask([HARMLESS], *tables(cases=20, noise=0.3), REPEATS)
    (row,) = decide([question]).to_dict("records")
    error, df = question.layout.error()
    tails = [
        stats.t.sf((0.01 + row["estimate"]) / error, df),
        stats.t.cdf((row["estimate"] - 0.01) / error, df),
    ]
    assert row["p"] == pytest.approx(max(tails))
    # At 5 % on either side, they agree with a 90 % interval.
    low, high = stats.t.interval(0.9, df, row["estimate"], error)
    assert (row["verdict"] == "supported") == (low > -0.01 and high < 0.01)


def threshold(share, at="clean"):
    return Claim("threshold", "threshold", **UNET, error="natural-0.90", share=share, at=at)


@pytest.mark.parametrize(
    ("given_back", "expected"), [(0.9, "supported"), (0.1, "refuted"), (0.5, "undecided")]
)
def test_the_share_of_a_threshold_is_judged_by_what_it_gives_back(given_back, expected):
    study = tables(0.1, cases=20, given_back=given_back)
    found = verdicts([threshold(0.5)], study).loc["threshold"]
    assert found["verdict"] == expected
    # Of about 0.1, what is given back minus a half.
    assert found["estimate"] == pytest.approx(0.1 * (given_back - 0.5), abs=0.015)
    assert found["share"] == 0.5 and found["at"] == "clean"


def test_a_threshold_has_a_gap_where_nothing_is_lost_or_none_is_implied():
    found = verdicts([threshold(0.5)], tables(-0.05)).loc["threshold"]
    assert found["gap"] == "no loss to take apart" and np.isnan(found["estimate"])
    found = verdicts([threshold(0.5, at="loss")], tables(0.05)).loc["threshold"]
    assert found["gap"] == "the recipe's loss implies no threshold"


HELPS = Claim(
    "helps", "helps", **UNET, error="natural-0.90", than=("segnet", "labels18", "natural-0.90")
)


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ({"unet": 0.0, "segnet": 0.2}, "supported"),
        ({"unet": 0.2, "segnet": 0.0}, "refuted"),
        (0.2, "undecided"),
    ],
)
def test_what_helps_scores_higher_under_the_error(lost, expected):
    """Whatever both lose; and under the control, where they are alike, nothing is decided."""
    runs, counts = tables(lost, cases=20)
    clean = replace(HELPS, name="clean", error="control", than=("segnet", "labels18", "control"))
    found = verdicts([HELPS, clean], (runs, counts))
    assert found.loc["helps", "verdict"] == expected
    assert found.loc["clean", "verdict"] == "undecided"
    pooled = counts.groupby(["model", "perturbation", "repeat"])[["tp", "fp", "fn"]].sum()
    dice = 2 * pooled["tp"] / (2 * pooled["tp"] + pooled["fp"] + pooled["fn"])
    means = dice.groupby(["model", "perturbation"]).mean()
    for name, error in (("helps", "natural-0.90"), ("clean", "control")):
        difference = means["unet", error] - means["segnet", error]
        assert found.loc[name, "estimate"] == pytest.approx(difference)


def test_a_threshold_helps_where_it_gives_back():
    moved = replace(HELPS, than=None, at="clean")
    for given_back, verdict in ((0.9, "supported"), (0.0, "undecided")):
        found = verdicts([moved], tables(0.1, cases=20, given_back=given_back)).loc["helps"]
        assert found["verdict"] == verdict
        assert found["estimate"] == pytest.approx(0.1 * given_back, abs=0.015)
    found = verdicts([replace(moved, at="loss")], tables(0.1)).loc["helps"]
    assert found["gap"] == "the recipe's loss implies no threshold"


def test_what_has_no_scores_cannot_help():
    study = gone(tables(), model="segnet", perturbation="natural-0.90")
    found = verdicts([HELPS], study).loc["helps"]
    assert found["gap"] == "no scores of segnet/labels18/natural-0.90"
    assert found[NUMBERS].isna().all()


def test_a_claim_about_hd95_is_about_its_rise():
    """It rises by 100 mm for each Dice lost, in each case."""
    study = tables(0.08, cases=20)
    hd95 = Claim("hd95", "costs", **UNET, error="natural-0.90", measure="hd95")
    found = verdicts([COSTS, hd95], study)
    assert found.loc["hd95", "verdict"] == "supported"
    assert found.loc["hd95", "estimate"] == pytest.approx(8, abs=1.5)
    # Each measure has a prior of its own: the other claim's numbers stay.
    alone = verdicts([COSTS], study).loc["costs"]
    for name in ("estimate", "low", "high", "df", "p"):
        assert found.loc["costs", name] == alone[name]


def test_a_slope_is_judged_as_the_drop_that_it_divides():
    """With one error of label Dice 0.9, a slope above 0 is the drop times 10, p included."""
    study = tables(0.02)
    found = verdicts([COSTS, Claim("slope", "slope", **UNET, error="natural", above=0.0)], study)
    costs, slope = found.loc["costs"], found.loc["slope"]
    for name in ("estimate", "low", "high", "smallest_effect"):
        assert slope[name] == pytest.approx(10 * costs[name])
    assert slope["p"] == pytest.approx(costs["p"]) and slope["df"] == pytest.approx(costs["df"])


def test_the_scale_of_a_slope_is_that_of_its_weights():
    assert slope_scale([0.1]) == pytest.approx(10)
    # Weights .05, .1 and .15 over .035, and their sum for the control.
    expected = np.sqrt((0.05**2 + 0.1**2 + 0.15**2 + 0.3**2) / 2) / 0.035
    assert slope_scale([0.05, 0.1, 0.15]) == pytest.approx(expected)


def test_holm_by_hand():
    # .01 x 4, .02 x 3, .03 x 2 raised to what comes before it, and 1 for the unknown.
    assert holm([0.03, 0.01, np.nan, 0.02]) == pytest.approx([0.06, 0.04, 1, 0.06])
    assert holm([0.4, 0.5]) == pytest.approx([0.8, 0.8]) and holm([]) == []


def test_intervals_do_not_depend_on_which_claims_are_declared():
    study = tables(0.05)
    alone, among = (verdicts(claims, study) for claims in ([WORSE], [COSTS, SLOPE, WORSE]))
    names = ["estimate", "low", "high", "df", "p"]
    assert alone.loc["worse", names].equals(among.loc["worse", names])
    assert alone.loc["worse", "smallest_effect"] < among.loc["worse", "smallest_effect"]


@pytest.mark.parametrize("repeats", [2, 3])
def test_null_studies_support_a_claim_in_one_of_twenty_at_most(repeats):
    """Control and error are alike; of three claims, at most 5 % of studies support any."""
    rng, supported = np.random.default_rng(8), []
    claims = [COSTS, WORSE, Claim("slope", "slope", **UNET, error="natural", above=0.0)]
    for _ in range(1000):
        # Control and error of six networks, whose drops the prior is fitted to.
        dice = rng.normal(0, 0.01, (2, 6, 1, CASES)) + rng.normal(0, 0.01, (2, 6, repeats, 1))
        dice += rng.normal(0, 0.01, dice.shape)
        lost = [pd.DataFrame(block) for block in dice[0] - dice[1]]
        of_drops = {("lis", "liver", index): block for index, block in enumerate(lost)}
        unet, segnet = lost[:2]
        blocks = [(unet, 1.0), (segnet - unet, np.sqrt(2)), (unet / 0.1, 10.0)]
        posed = [
            Question(claim, "liver", "", *of) for claim, of in zip(claims, blocks, strict=True)
        ]
        found = decide(moderated(posed, of_drops))["verdict"]
        supported.append((found == "supported").any())
    assert 0 < np.mean(supported) <= LEVEL


def gone(study, **names):
    """The study without the runs of these names."""
    keep = [~(table[[*names]] == list(names.values())).all(axis=1) for table in study]
    return tuple(table[kept] for table, kept in zip(study, keep, strict=True))


def absent(study):
    runs, counts = study
    return runs, counts.assign(tp=0, fn=0)


@pytest.mark.parametrize(
    ("study", "repeats", "gap"),
    [
        (tables(cases=1), 3, "one test case shows liver"),
        (tables(repeats=1), 1, "one repeat"),
        (gone(tables(), perturbation="natural-0.90", repeat=1), 3, "scores of 2 of 3 repeats"),
        (gone(tables(), perturbation="control", repeat=0), 3, "scores of 2 of 3 repeats"),
        (gone(tables(), perturbation="natural-0.90"), 3, "no drop of unet/labels18/natural"),
        (gone(tables(), perturbation="control"), 3, "no drop of unet/labels18/natural"),
        (absent(tables()), 3, "no test case shows liver"),
        (tables(noise=0), 3, "all values are equal"),
    ],
)
def test_a_gap_leaves_no_number(study, repeats, gap):
    found = judge([COSTS, SLOPE], *study, repeats)
    assert (found["verdict"] == "undecided").all()
    assert found["gap"].str.startswith(gap).all(), found["gap"].tolist()
    assert found[[*NUMBERS, "n", "cases"]].isna().all(axis=None)
    assert (found["repeats_needed"] == "").all()


def test_a_run_without_score_and_a_case_without_counts_are_gaps():
    runs, counts = tables()
    first = (counts["perturbation"] == "control") & (counts["repeat"] == 0)
    undefined = counts.mask(first, other=counts.assign(tp=0, fp=0, fn=0))
    found = verdicts([COSTS], (runs, undefined)).loc["costs"]
    assert found["gap"] == "scores of 2 of 3 repeats"
    lacking = counts[~(first & (counts["case"] == "case0"))]
    assert verdicts([COSTS], (runs, lacking)).loc["costs", "gap"] == "some repeats lack test cases"


def test_a_structure_that_was_not_tested_is_a_gap_and_counts_for_the_correction():
    other = Claim("spleen", "costs", **UNET, error="natural-0.90", structure="spleen")
    found = verdicts([COSTS, other], tables(0.02))
    assert found.loc["spleen", "gap"] == "no drop of unet/labels18/natural-0.90"
    assert found.loc["costs", "p_adjusted"] == pytest.approx(2 * found.loc["costs", "p"])


def drawn_twice(lost_fresh):
    """A study with fixed natural errors, which cost 0.2 Dice, and fresh ones."""
    (runs, cases), fresh = tables(0.2, cases=20), tables(lost_fresh, cases=20)
    again = []
    for table in fresh:
        errors = table[table["perturbation"] != "control"]
        again.append(errors.assign(perturbation="natural-0.90-fresh"))
    again[0] = again[0].assign(draws="per_epoch")
    return pd.concat([runs, again[0]]), pd.concat([cases, again[1]])


def test_a_slope_is_of_errors_that_are_drawn_alike():
    study = drawn_twice(0.0)
    claims = [replace(SLOPE, name=draws, draws=draws) for draws in ("1", "per_epoch")]
    found = verdicts(claims, study)
    assert found["verdict"].tolist() == ["supported", "refuted"]
    assert found["draws"].tolist() == ["1", "per_epoch"]
    np.testing.assert_allclose(found["estimate"], [2, 0], atol=0.3)
    # Each as where the other is not; only the prior of variances is shared.
    alone = verdicts([SLOPE], tables(0.2, cases=20)).loc["slope"]
    assert alone["estimate"] == pytest.approx(found.loc["1", "estimate"])
    assert alone["draws"] == ""
    merged = verdicts([SLOPE], study).loc["slope"]
    assert merged["gap"] == "natural errors are drawn in 2 ways" and np.isnan(merged["estimate"])
