"""A study of cases and care, from its config to its answer."""

import pandas as pd

from workflow_runs import TINY, changed, snakemake

RECIPE = TINY["recipes"]["short"] | {"epochs": 2, "keep": 1}
STUDY = changed(
    datasets={"tiny": {"source": "phantom", "cases": 10, "slices": 2, "size": 32}},
    recipes={f"few-{cases}": RECIPE | {"training_cases": cases} for cases in (1, 3, 6)},
    perturbations={
        "both": {"kind": "consensus", "of": ["choppy-0.85"], "annotators": 2, "by": "mean"}
    },
    matrix={
        "recipe": ["few-1", "few-3", "few-6"],
        "perturbation": ["control", "choppy-0.85", "both"],
        "repeats": 1,
        "claims": [],
    },
) | {
    "budget": {
        "case": 20,
        "minute": 1,
        "minutes": {"control": 60, "choppy-0.85": 5},
        "wanted": 0.5,
    }
}
TABLES = [f"results/tables/{name}" for name in ("budget.csv", "budget.tex", "answer.md")]


def test_a_budget_is_counted_from_the_runs_to_the_answer(tmp_path):
    done = snakemake(tmp_path, STUDY, *TABLES, "results/figures/budget.png")
    assert done.returncode == 0, done.stdout + done.stderr
    surface = pd.read_csv(tmp_path / TABLES[0]).set_index(["perturbation", "cases"])
    runs = pd.read_csv(tmp_path / "results/tables/runs.csv").set_index(["perturbation", "recipe"])
    assert len(surface) == 9
    for (error, cases), row in surface.iterrows():
        assert row["dice"] == runs.loc[(error, f"few-{cases}"), "dice"]
    # One repeat of each error's labels, whatever the cases.
    assert surface.loc["both", "label_dice"].nunique() == 1
    price = {error: surface.loc[(error, 3), "price"] for error in ("control", "both")}
    assert price == {"control": 3 * 80, "both": 3 * 30}
    plans = pd.read_csv(tmp_path / "results/tables/budget-plans.csv")
    assert plans["perturbation"].tolist() == ["control", "choppy-0.85", "both"]
    said = (tmp_path / "results/tables/budget.md").read_text()
    answer = (tmp_path / TABLES[2]).read_text()
    # The same sentences, first.
    first = said.splitlines()[0]
    assert first.startswith("- tiny, liver, small: ")
    assert f"How carefully to annotate\n\n{first}\n" in answer
    assert (tmp_path / "results/figures/budget.png").stat().st_size > 0
