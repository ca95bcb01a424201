"""Plans: variances out of a study, and what they promise for the next one."""

import numpy as np
import pandas as pd
import pytest
import yaml

from drawn_runs import tables
from labelnoise.config import complete
from labelnoise.evaluation.claims import judge
from labelnoise.evaluation.planning import components_table, plan
from labelnoise.study import Study
from workflow_runs import ROOT

RAW = yaml.safe_load((ROOT / "config.yaml").read_text())
CLAIMS = {
    "costs": {"kind": "costs", "perturbation": "natural-0.90"},
    "harmless": {"kind": "harmless", "perturbation": "natural-0.90", "margin": 0.02},
    "worse": {"kind": "worse", "perturbation": "natural-0.90", "than": {"model": "unet"}},
    "slope": {"kind": "slope", "error": "natural", "below": 2},
    "helps": {"kind": "helps", "perturbation": "natural-0.90", "than": {"model": "unet"}},
}


def study(repeats=3, claims=CLAIMS, names=(), **perturbations):
    """A study of two networks on `phantom`, with claims; `names` are added to its matrix."""
    matrix = {"dataset": ["phantom"], "model": ["unet", "segnet"], "recipe": ["labels18"]}
    matrix |= {"perturbation": ["control", "natural-0.90", *names], "repeats": repeats}
    changed = {**RAW["perturbations"], **perturbations}
    return Study.of(complete({**RAW, "matrix": matrix, "claims": claims, "perturbations": changed}))


def stored(**changes):
    row = {"dataset": "phantom", "recipe": "labels18", "contrast": "drop", "contrasts": 6}
    row |= {"repeat": 0.01, "case": 0.02, "residual": 0.01, "prior_df": 4.0}
    return pd.DataFrame([row | changes])


def test_components_are_those_that_a_study_was_drawn_with():
    # All three parts of a drop are differences of two cells with a standard deviation of 0.01.
    found = components_table(*tables(repeats=40, cases=60, seed=3)).set_index("contrast")
    values = found.loc["drop", ["repeat", "case", "residual"]].astype(float)
    np.testing.assert_allclose(values, np.sqrt(2) * 0.01, rtol=0.25)
    assert found.loc["level", "case"] == pytest.approx(np.hypot(0.03, 0.01), rel=0.25)
    assert found.loc["drop", "contrasts"] == 2 and found.loc["level", "contrasts"] == 4


def test_a_plan_promises_what_such_studies_find_on_average():
    made = study(repeats=6)
    components = components_table(*tables(repeats=40, cases=60, datasets=("phantom",), seed=3))
    promised = plan(made, components, {"phantom": 20}, 0.02)["smallest_effect"]
    found = [
        judge(made.claims, *tables(datasets=("phantom",), repeats=6, cases=20, seed=seed), 6)
        for seed in range(30)
    ]
    mean = np.mean([table["smallest_effect"] for table in found], axis=0)
    np.testing.assert_allclose(mean, promised, rtol=0.15)


def test_more_repeats_and_cases_find_smaller_effects():
    made, planned = study(), {}
    for cases in (8, 40):
        planned[cases] = plan(made, stored(), {"phantom": cases}, 0.02)
    assert (planned[40]["smallest_effect"] < planned[8]["smallest_effect"]).all()
    many = plan(study(repeats=9), stored(), {"phantom": 8}, 0.02)
    assert (many["smallest_effect"] < planned[8]["smallest_effect"]).all()
    assert set(planned[8]["repeats_needed"]) == {"none: the cases decide"}
    assert planned[40]["repeats_needed"].iloc[0].isdigit()


def test_a_dataset_without_stored_variances_takes_those_of_its_recipe():
    rows = pd.concat(
        [
            stored(dataset="a", repeat=0.01),
            stored(dataset="b", repeat=0.03),
            stored(recipe="plain", repeat=1.0),
        ]
    )
    found = plan(study(), rows, {"phantom": 20}, 0.02)
    mean = plan(study(), stored(repeat=np.sqrt(5e-4)), {"phantom": 20}, 0.02)
    assert set(found["source"]) == {"a, b"}
    np.testing.assert_allclose(found["smallest_effect"], mean["smallest_effect"])


def test_what_cannot_be_planned_is_a_gap():
    one = plan(study(repeats=1), stored(), {"phantom": 40}, 0.02)
    assert set(one["gap"]) == {"one repeat"} and one["smallest_effect"].isna().all()
    assert one["repeats_needed"].iloc[0].isdigit()
    assert set(plan(study(), stored(), {"phantom": 1}, 0.02)["gap"]) == {"one test case"}
    pixels = {"natural-0.90": {"kind": "natural", "severity": 3}}
    found = plan(study(**pixels), stored(), {"phantom": 40}, 0.02).set_index("claim")["gap"]
    assert set(found["slope"]) == {"errors without target_dice"} and set(found["costs"]) == {""}


def test_a_slope_is_planned_over_the_errors_that_are_drawn_alike():
    fresh = {"fresh": {"kind": "natural", "target_dice": 0.7, "draws": "per_epoch"}}
    made = study(claims={"slope": CLAIMS["slope"]}, names=["fresh"], **fresh)
    found = plan(made, stored(), {"phantom": 40}, 0.02).set_index("draws")["smallest_effect"]
    alone = plan(study(claims={"slope": CLAIMS["slope"]}), stored(), {"phantom": 40}, 0.02)
    # The same level of the test for each of two networks, and twice as many for both draws.
    assert found.loc["1"].iloc[0] > alone["smallest_effect"].iloc[0]
    # Three times the label error weighs a third.
    np.testing.assert_allclose(found.loc["1"], 3 * found.loc["per_epoch"])
