"""A study whose labels are reviewed, from its config to its tables and figures."""

import pandas as pd
import pytest

from workflow_runs import TINY, changed, job_counts, snakemake

DETECTORS = ["loss", "disagreement", "area"]
STUDY = changed(
    datasets={"tiny": {"source": "phantom", "cases": 10, "slices": 2, "size": 32}},
    recipes={"short": TINY["recipes"]["short"] | {"epochs": 2}},
    perturbations={"some": {"kind": "choppy", "severity": 3, "share": 0.5}},
    matrix={"perturbation": ["control", "some"], "repeats": 1},
    review={"detectors": DETECTORS, "retrain": ["ideal", "loss"], "share": 0.5},
)
FIGURES = ("results/figures/review.png", "results/figures/review-unseen.png")
OF_CONTROL = "results/runs/tiny/small/short/control/rep0/suspects.csv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("review")
    done = snakemake(folder, STUDY, *FIGURES, "results/tables/mended.md", OF_CONTROL)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_detectors_are_graded_on_both_splits_by_slice_and_case(folder):
    table = pd.read_csv(folder / "results/tables/review.csv")
    assert set(table["perturbation"]) == {"some"} and (table["n"] == 1).all()
    assert len(table) == 2 * 2 * (len(DETECTORS) + 2)
    assert table["auroc_mean"].between(0, 1).all()
    ideal = table[table["detector"] == "ideal"]
    assert (ideal["auroc_mean"] == 1).all() and (ideal["truth"] == "changed").all()
    for name in ("tables/review.md", "tables/review.tex", "tables/mending.csv"):
        assert (folder / "results" / name).stat().st_size > 0


def test_labels_that_nobody_knows_to_be_wrong_are_ranked_too(folder):
    table = pd.read_csv(folder / OF_CONTROL)
    assert set(table["split"]) == {"train", "test"}
    assert (table[["fp", "fn"]] == 0).all(axis=None) and table["loss"].nunique() > 1


def test_networks_are_trained_again_on_mended_labels_from_the_same_weights(folder):
    table = pd.read_csv(folder / "results/tables/mended.csv").set_index(["perturbation", "order"])
    assert [*table.index] == [
        ("control", "none"),
        *(("some", order) for order in ("none", "ideal", "loss")),
    ]
    # Half of the cases are wrong; half of the slices, mended in the ideal order, make the control.
    control, ideal = table.loc[("control", "none")], table.loc[("some", "ideal")]
    assert ideal["dice_mean"] == control["dice_mean"]
    assert table.loc[("some", "none"), "dice_mean"] != control["dice_mean"]


def test_a_review_is_part_of_a_study_that_asks_for_it_alone(folder):
    ours = {"rank_suspects", "grade_detectors", "plot_review", "train_mended", "compare_mended"}
    study = {name: part for name, part in STUDY.items() if name != "review"}
    assert not ours & job_counts(snakemake(folder, study, "figures", "--dry-run", "-F")).keys()
    counts = job_counts(snakemake(folder, STUDY, "figures", "--dry-run", "-F"))
    assert {name: counts[name] for name in ours} == dict.fromkeys(ours, 1) | {"train_mended": 2}


def test_an_order_that_no_detector_gives_is_refused(folder):
    done = snakemake(folder, STUDY | {"review": {"retrain": ["loss"]}}, "--dry-run")
    assert "'review.retrain' names 'loss', which 'review.detectors' does not" in done.stderr
