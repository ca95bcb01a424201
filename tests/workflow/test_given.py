"""A whole study of given labels, of a dataset with folds too; rewritten masks make it again."""

import json
import os
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from labelnoise.data.storage import Dataset, LabelFile
from own_images import OWN, write_own, write_pair
from workflow_runs import TINY, job_counts, snakemake, status_of

# Pixels of the discs of radius 8, which are true, and 6, which are given: the second are inside.
TRUE, GIVEN = 197, 113
DICE = 2 * GIVEN / (TRUE + GIVEN)
INTERN = {"kind": "given", "folder": "data/intern"}
SPLIT = {"train": ["p0", "p1", "p2"], "validation": ["p3"], "test": ["p4", "p5"]}
STUDY = OWN | {
    "datasets": {"own": OWN["datasets"]["own"] | {"split": SPLIT}},
    "recipes": {"short": TINY["recipes"]["short"] | {"epochs": 2}},
    "perturbations": {
        "intern": INTERN,
        "choppy-x": {"kind": "choppy", "severity": 1.0},
        "mixed": {"kind": "mixture", "of": ["intern", "choppy-x"], "draws": "per_epoch"},
    },
    "matrix": OWN["matrix"] | {"perturbation": ["control", "intern", "mixed"], "repeats": 1},
}
RUN = "results/runs/own/small/short/{}/rep0/test.csv"


def write_intern(folder, cases):
    for case in cases:
        for number in range(2):
            write_pair(folder.with_name("scratch"), case, number, radius=6)
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder.with_name("scratch") / "masks").iterdir():
        path.rename(folder / path.name)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The study, run to its tables and the pictures of its labels; case p5 is not given."""
    folder = tmp_path_factory.mktemp("given")
    write_own(folder / "data/own")
    write_intern(folder / "data/intern", range(5))
    done = snakemake(
        folder,
        STUDY,
        "results/tables/runs.csv",
        "results/ceiling/own/intern.csv",
        "results/figures/perturbations/own.png",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def structures(path):
    return json.loads(path.read_text())["structures"]["disc"]


def test_labels_are_measured_stored_and_trained_on(home):
    found = structures(home / "results/calibration/own/intern.json")
    assert found["label_dice"] == pytest.approx(DICE)
    assert found["recall"] == found["volume_ratio"] == pytest.approx(GIVEN / TRUE)
    assert found["precision"] == 1
    labels = LabelFile(home / "results/labels/own/intern/rep0.h5")
    assert labels.read(labels.rows, 0).sum() == 8 * GIVEN
    with Dataset(home / "results/datasets/own.h5") as data:
        assert labels.rows.tolist() == [*data.rows("train"), *data.rows("validation")]


def test_tables_call_it_by_its_name_and_leave_out_what_is_not_given(home):
    runs = pd.read_csv(home / "results/tables/runs.csv").set_index("perturbation")
    assert set(runs["kind"]) == {"control", "intern", "mixed"}
    assert runs.loc["intern", "label_dice"] == pytest.approx(DICE)
    assert np.isnan(runs.loc["intern", "target_dice"])
    cases = pd.read_csv(home / "results/tables/cases.csv").set_index(["perturbation", "case"])
    apparent = cases[["tp_apparent", "fn_apparent"]].sum(axis=1)
    assert apparent["intern", "case005"] == 2 * GIVEN and apparent["intern", "case006"] == 0
    assert apparent["control", "case005"] == apparent["control", "case006"] == 2 * TRUE


def test_the_ceiling_is_that_of_labels_that_never_vary(home):
    table = pd.read_csv(home / "results/ceiling/own/intern.csv")
    assert table["dice"].item() == table["label_dice"].item() == pytest.approx(DICE)
    assert table["standard_error"].item() == 0


def test_a_rewritten_mask_makes_its_labels_again_and_nothing_else(home):
    targets = [RUN.format(name) for name in ("control", "intern")]
    study = STUDY | {"matrix": STUDY["matrix"] | {"perturbation": ["control", "intern"]}}
    for path in (home / "data/intern").iterdir():
        os.utime(path)
    assert job_counts(snakemake(home, study, *targets, "--dry-run")) == {}
    assert outdated(home, study) == {}
    path = home / "data/intern/p0_s0.png"
    before = path.read_bytes()
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(path)
    asked = snakemake(home, study, *targets, "--dry-run")
    once = [
        "prepare_given",
        "calibrate_perturbation",
        "perturb_labels",
        "train_model",
        "test_model",
    ]
    assert job_counts(asked) == dict.fromkeys(once, 1) | {"total": 5}
    assert re.search(r"wildcards: dataset=own, perturbation=intern", asked.stdout)
    (changed,) = outdated(home, study).values()
    assert changed == "given labels intern of own: p0_s0.png rewritten"
    done = snakemake(home, study, "results/labels/own/intern/rep0.h5")
    assert done.returncode == 0, done.stderr
    assert "is newer than the run" in outdated(home, study)["own/small/short/intern/rep0"]
    found = structures(home / "results/calibration/own/intern.json")
    assert found["recall"] == pytest.approx(5 * GIVEN / (6 * TRUE))
    path.write_bytes(before)


def outdated(folder, study):
    """Return what `make status` says of runs that are outdated, by their names."""
    return {run.name: how for run, how in status_of(folder, study).mixed}


def test_folds_share_one_file_and_a_missing_case_is_a_sentence_of_the_status(tmp_path):
    write_own(tmp_path / "data/own")
    write_intern(tmp_path / "data/intern", range(5))
    folds = {"own": OWN["datasets"]["own"] | {"split": {"folds": 3}}}
    matrix = STUDY["matrix"] | {"perturbation": ["control", "intern"]}
    study = STUDY | {"datasets": folds, "matrix": matrix}
    targets = [f"results/labels/own@fold{fold}/intern/rep0.h5" for fold in range(3)]
    assert snakemake(tmp_path, study, *targets).returncode != 0
    (failure,) = status_of(tmp_path, study).failures
    assert (failure.rule, failure.name, failure.blocked) == ("prepare_given", "own/intern", 3)
    assert "1 of 6 cases have no labels in data/intern (p5)" in failure.sentence
    write_intern(tmp_path / "data/intern", [5])
    done = snakemake(tmp_path, study, *targets)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "results/given/own").glob("*.h5")] == ["intern.h5"]
    for fold, target in enumerate(targets):
        labels = LabelFile(tmp_path / target)
        with Dataset(tmp_path / f"results/datasets/own@fold{fold}.h5") as data:
            assert labels.rows.tolist() == [*data.rows("train"), *data.rows("validation")]
        assert labels.read(labels.rows, 0).sum() == len(labels.rows) * GIVEN
