"""What mitigations give back: against runs' own Dice, of known truths, and with gaps."""

import numpy as np
import pandas as pd
import pytest

from labelnoise.evaluation.claims import judge
from labelnoise.evaluation.mitigation import COLUMNS, _part, mitigation_table
from labelnoise.evaluation.thresholds import HALF
from labelnoise.study import Claim
from odd_studies import OddStudy

RECIPES = ("plain", "cure", "other")
NATURAL = {"model": "unet", "perturbation": "natural-0.85"}


@pytest.fixture
def study():
    """Two networks and kinds of error, three recipes, with noise of repeats and cases."""
    return OddStudy(
        kinds=("natural", "choppy"), recipes=RECIPES, models=("unet", "segnet"), repeats=3
    )


def rows_of(table, **names):
    chosen = (table[list(names)] == list(names.values())).all(axis=1)
    return table[chosen].set_index(["recipe", "at"])


def test_every_number_is_a_difference_of_mean_dice(study):
    table = mitigation_table(study.runs, study.cases, "plain")
    dice = study.runs.groupby(["model", "recipe", "perturbation"])["dice"].mean()
    assert len(table) == 2 * 2 * 4
    for row in table[table["at"] == HALF].to_dict("records"):
        model, error, recipe = (row[name] for name in ("model", "perturbation", "recipe"))
        lost = dice[model, "plain", "control"] - dice[model, "plain", error]
        gained = dice[model, recipe, error] - dice[model, "plain", error]
        cost = dice[model, "plain", "control"] - dice[model, recipe, "control"]
        assert row["lost_mean"] == pytest.approx(lost)
        assert row["gained_mean"] == pytest.approx(gained, abs=1e-12)
        assert row["cost_mean"] == pytest.approx(cost, abs=1e-12)
        assert row["gained_low"] < row["gained_mean"] < row["gained_high"]
        if row["lost_low"] > 0:
            assert row["share_mean"] == pytest.approx(gained / lost)
            assert row["share_low"] < row["share_mean"] < row["share_high"]
        else:
            assert np.isnan(row["share_mean"])
    assert (table[["n", "cases"]] == 3).all(axis=None)


def cured(study):
    """The study, in which one recipe under every error scores as the baseline does without."""
    cases = study.cases.set_index(["model", "recipe", "perturbation", "repeat", "case"])
    counts = ["tp", "fp", "fn", "tn"]
    for key in cases.index[cases.index.get_level_values("recipe") == "cure"]:
        cases.loc[key, counts] = cases.loc[
            (key[0], "plain", "control", *key[3:]), counts
        ].to_numpy()
    return cases.reset_index()


def test_a_cure_gives_back_all_of_it_and_costs_nothing(study):
    table = mitigation_table(study.runs, cured(study), "plain")
    row = rows_of(table, **NATURAL).loc["cure", HALF]
    for statistic in ("mean", "low", "high"):
        assert row[f"gained_{statistic}"] == pytest.approx(row[f"lost_{statistic}"])
    assert row["share_mean"] == pytest.approx(1) and row["share_low"] < 1 < row["share_high"]
    assert row["cost_mean"] == pytest.approx(0, abs=1e-12)


def test_a_fixed_share_of_what_is_lost_does_not_vary():
    lost = pd.DataFrame(np.random.default_rng(0).normal(0.1, 0.03, (3, 8)))
    for share in (0.0, 0.4, 1.0):
        part = _part(share * lost, lost).to_numpy()
        assert part == pytest.approx(np.full((3, 8), share * lost.mean(axis=None)))


def test_a_threshold_of_the_baseline_is_a_mitigation(study):
    """At every other threshold of the study half of the false positives are gone."""
    table = mitigation_table(study.runs, study.cases, "plain")
    rows = rows_of(table, **NATURAL)
    assert [*rows.index] == [
        ("cure", HALF),
        ("other", HALF),
        ("plain", "clean"),
        ("plain", "perturbed"),
    ]
    here = study.cases[
        (study.cases[["model", "recipe", "perturbation"]] == ["unet", "plain", "natural-0.85"]).all(
            axis=1
        )
    ]
    sums = here.groupby("repeat")[["tp", "fp", "fn"]].sum()
    dice, moved = (
        2 * sums["tp"] / (2 * sums["tp"] + fp + sums["fn"])
        for fp in (sums["fp"], here.groupby("repeat")["fp"].agg(lambda each: (each // 2).sum()))
    )
    assert rows.loc[("plain", "clean"), "gained_mean"] == pytest.approx((moved - dice).mean())


def test_intervals_under_errors_are_those_of_claims(study):
    about = {"dataset": "phantom", "model": "unet", "error": "natural-0.85"}
    plain = ("unet", "plain", "natural-0.85")
    claims = [
        Claim("recipe", "helps", **about, recipe="cure", than=plain),
        Claim("threshold", "helps", **about, recipe="plain", at="clean"),
    ]
    found = judge(claims, study.runs, study.cases, 3).set_index("claim")
    rows = rows_of(mitigation_table(study.runs, study.cases, "plain"), **NATURAL)
    same = {"recipe": ("gained", "cure", HALF), "threshold": ("gained", "plain", "clean")}
    for claim, (name, *way) in same.items():
        for column, statistic in (("estimate", "mean"), ("low", "low"), ("high", "high")):
            number = rows.loc[tuple(way), f"{name}_{statistic}"]
            assert number == pytest.approx(found.loc[claim, column], abs=1e-12)


def test_what_is_lost_for_nothing_certain_has_no_share():
    """One repeat and hardly any loss: the interval of what is lost holds 0."""
    study = OddStudy(kinds=("natural",), recipes=RECIPES, sizes=(0.999,), repeats=3)
    table = mitigation_table(study.runs, study.cases, "plain")
    assert (table["lost_low"] < 0).all() and table["share_mean"].isna().all()
    assert table["gained_mean"].notna().all()


def test_without_a_control_nothing_is_said_of_losses(study):
    runs = study.runs[study.runs["perturbation"] != "control"]
    cases = study.cases[study.cases["perturbation"] != "control"]
    table = mitigation_table(runs, cases, "plain")
    assert table[["lost_mean", "share_mean", "cost_mean"]].isna().all(axis=None)
    assert table["gained_mean"].notna().all()


@pytest.mark.parametrize("left", ["controls alone", "no baseline"])
def test_a_study_without_anything_to_compare_has_no_rows(study, left):
    def chosen(table):
        is_control = table["perturbation"] == "control"
        return table[is_control if left == "controls alone" else table["recipe"] != "plain"]

    table = mitigation_table(chosen(study.runs), chosen(study.cases), "plain")
    assert table.empty and [*table.columns] == COLUMNS
