"""A study of errors as people make them, from its config to its tables and its gallery."""

import json

import pandas as pd
import pytest

from labelnoise.data.storage import Dataset, LabelFile
from workflow_runs import TINY, changed, job_counts, snakemake

ERRORS = {
    "thin-0.90": {"kind": "rater", "target_dice": 0.9, "mean": -3, "bias_share": 0.1},
    "scatter-0.90": {"kind": "rater", "target_dice": 0.9, "bias_share": 0, "pixel": 2},
    "missed-0.90": {"kind": "omission", "target_dice": 0.9, "of": "cases"},
    "some-0.95": {"kind": "choppy", "target_dice": 0.95, "share": 0.5, "share_of": "slices"},
    "two-raters": {"kind": "mixture", "of": ["thin-0.90", "choppy-0.85"], "draws": "per_epoch"},
}
STUDY = changed(
    datasets={"tiny": {"source": "phantom", "cases": 10, "slices": 2, "size": 32}},
    recipes={"short": TINY["recipes"]["short"] | {"epochs": 2}},
    perturbations=ERRORS,
    matrix={"perturbation": ["control", *ERRORS], "repeats": 1},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    done = snakemake(
        folder,
        STUDY,
        "results/tables/runs.csv",
        "results/figures/perturbations/tiny.png",
        "results/ceiling/tiny/two-raters.csv",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_table_tells_the_errors_apart(folder):
    runs = pd.read_csv(folder / "results/tables/runs.csv", keep_default_na=False)
    assert dict(zip(runs["perturbation"], runs["kind"], strict=True)) == {
        "control": "control",
        "thin-0.90": "thin",
        "scatter-0.90": "scatter",
        "missed-0.90": "missed",
        "some-0.95": "some",
        "two-raters": "two-raters",
    }
    thin = runs.set_index("perturbation").loc["thin-0.90"]
    assert float(thin["label_volume_ratio"]) < 0.9


def test_calibration_is_on_target_with_a_share_too(folder):
    for name, target in (("thin-0.90", 0.9), ("some-0.95", 0.95), ("missed-0.90", 0.9)):
        path = folder / f"results/calibration/tiny/{name}.json"
        found = json.loads(path.read_text())["structures"]["liver"]
        assert found["label_dice"] == pytest.approx(target, abs=0.002)
    parts = json.loads((folder / "results/calibration/tiny/two-raters.json").read_text())
    sizes = parts["structures"]["liver"]["errors"]
    thin = json.loads((folder / "results/calibration/tiny/thin-0.90.json").read_text())
    assert sizes["thin-0.90"]["severity"] == thin["structures"]["liver"]["severity"]


def test_half_of_the_slices_are_as_they_were(folder):
    labels = LabelFile(folder / "results/labels/tiny/some-0.95/rep0.h5")
    with Dataset(folder / "results/datasets/tiny.h5") as data:
        rows = data.rows("train")
        changed_n = (labels.read(rows, 0) != data.read_labels(rows)).any(axis=(1, 2))
    assert changed_n.sum() == len(rows) // 2


def test_another_setting_makes_again_its_own_runs_and_no_others(folder):
    thin = ERRORS["thin-0.90"] | {"mean": -2}
    study = STUDY | {"perturbations": ERRORS | {"thin-0.90": thin}}
    counts = job_counts(snakemake(folder, study, "--dry-run", "results/tables/runs.csv"))
    # Its own and those of the mixture that it is part of.
    assert (counts["calibrate_perturbation"], counts["train_model"]) == (2, 2)
    spelt = ERRORS["scatter-0.90"] | {"gamma": 0.6, "share": 1.0}
    study = STUDY | {"perturbations": ERRORS | {"scatter-0.90": spelt}}
    assert job_counts(snakemake(folder, study, "--dry-run", "results/tables/runs.csv")) == {}
