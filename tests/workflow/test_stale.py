"""What changes after a study was made: Snakemake and `make status` see the same, and no more."""

import os
import re

import pytest

from own_images import OWN, write_own, write_pair
from workflow_runs import TINY, changed, job_counts, snakemake, status_of

LABELS = "results/labels/own/choppy-x/rep0.h5"


def to_train(folder, study):
    """Return the runs that Snakemake would train, and those that are not finished by the status."""
    asked = snakemake(folder, study, "--dry-run")
    assert asked.returncode == 0, asked.stderr
    blocks = asked.stdout.split("rule train_model:")[1:]
    names = [re.search(r"wildcards: (.+)", block)[1] for block in blocks]
    planned = {"/".join(part.split("=")[1] for part in name.split(", ")) for name in names}
    runs = status_of(folder, study).runs
    states = {each.run.name.replace("/rep", "/"): each.state for each in runs}
    assert set(states.values()) <= {"finished", "outdated"}
    return planned, {name for name, state in states.items() if state == "outdated"}


@pytest.mark.parametrize(
    ("study", "runs"),
    [
        (TINY, 0),
        (TINY | {"seed": 5}, 4),
        (changed(datasets={"tiny": TINY["datasets"]["tiny"] | {"window": [-90, 90]}}), 4),
        (changed(perturbations={"choppy-0.85": {"kind": "choppy", "target_dice": 0.86}}), 2),
        (changed(recipes={"short": TINY["recipes"]["short"] | {"learning_rate": 0.02}}), 4),
    ],
    ids=["nothing", "seed", "window", "target", "recipe"],
)
def test_status_and_snakemake_agree_on_a_changed_config(study_copy, study, runs):
    planned, outdated = to_train(study_copy, study)
    assert planned == outdated and len(planned) == runs


def test_a_dataset_that_was_made_again_alone_makes_its_runs_outdated(study_copy):
    study = changed(datasets={"tiny": TINY["datasets"]["tiny"] | {"window": [-90, 90]}})
    done = snakemake(study_copy, study, "results/datasets/tiny.h5")
    assert done.returncode == 0, done.stderr
    planned, outdated = to_train(study_copy, study)
    assert planned == outdated and len(planned) == 4


def files_of(folder):
    return {path: path.stat().st_mtime_ns for path in (folder / "results").rglob("*")}


def test_a_changed_source_makes_again_what_depends_on_it_and_a_touched_one_nothing(tmp_path):
    source = write_own(tmp_path / "data/own")
    done = snakemake(tmp_path, OWN, LABELS)
    assert done.returncode == 0, done.stderr
    for path in source.rglob("*.png"):
        os.utime(path)
    (source / "README").write_text("about these images")
    (source / "images/.DS_Store").write_text("x")
    assert job_counts(snakemake(tmp_path, OWN, LABELS, "--dry-run")) == {}

    write_pair(source, 2, radius=5)
    before = files_of(tmp_path)
    everything = {"prepare_dataset": 1, "calibrate_perturbation": 1, "perturb_labels": 1}
    for _ in range(2):
        counts = job_counts(snakemake(tmp_path, OWN, LABELS, "--dry-run"))
        assert counts == everything | {"total": 3}
    # That the files were touched is known; a dry-run writes nothing else.
    seen = tmp_path / "results/datasets/.own.seen.json"
    after = files_of(tmp_path)
    assert {path for path in after if after[path] != before.get(path)} <= {seen, seen.parent}

    digest = (tmp_path / "results/datasets/own.json").read_text()
    done = snakemake(tmp_path, OWN, LABELS)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results/datasets/own.json").read_text() != digest
    assert job_counts(snakemake(tmp_path, OWN, LABELS, "--dry-run")) == {}
