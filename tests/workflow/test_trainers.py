"""A study of a network and a trainer through Snakemake, from the pairs to tables and figures."""

import re
import shutil

import pandas as pd
import pytest

import command_trainer
from workflow_runs import TINY, changed, job_counts, snakemake, status_of

RECIPE = {**TINY["recipes"]["short"], "epochs": 2}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trainers")
    shutil.copy(command_trainer.__file__, folder / "trainer.py")
    overlay = changed(
        models={"mine": {"trainer": "command", "command": "python trainer.py {dataset} {output}"}},
        recipes={"own": {"loss": "trainer"}, "short": RECIPE},
        matrix={"model": ["small", "mine"], "recipe": ["short", "own"], "repeats": 2},
        claims={
            "worse": {
                "kind": "worse",
                "model": "small",
                "recipe": "short",
                "perturbation": "choppy-0.85",
                "than": {"model": "mine", "recipe": "own"},
            }
        },
    )
    done = snakemake(folder, overlay)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, overlay, done


def test_a_trainer_ends_in_the_same_tables_and_figures(study):
    folder, overlay, done = study
    runs = pd.read_csv(folder / "results/tables/runs.csv")
    pairs = runs[["model", "recipe"]].drop_duplicates().itertuples(index=False, name=None)
    assert list(pairs) == [("small", "short"), ("mine", "own")]
    assert len(runs) == 2 * 2 * 2
    own = runs[runs["model"] == "mine"]
    assert own["dice"].between(0, 1).all() and own["dice_at_clean"].notna().all()
    assert own["parameters"].isna().all() and own["dice_at_loss"].isna().all()
    pictures = {
        str(path.relative_to(folder / "results/figures/predictions"))
        for path in folder.glob("results/figures/predictions/**/*.png")
    }
    assert pictures == {"tiny/small/short.png", "tiny/mine/own.png"}
    said = done.stdout + done.stderr
    assert len(re.findall(r"^trained tiny/mine/own/\S+: validation Dice \d", said, re.M)) == 4
    claims = pd.read_csv(folder / "results/tables/claims.csv")
    found = claims[["claim", "model", "recipe", "than_model"]].fillna("").to_numpy().tolist()
    assert found == [
        ["choppy-costs", "small", "short", ""],
        ["choppy-costs", "mine", "own", ""],
        ["worse", "small", "short", "mine"],
    ]
    assert pd.read_csv(folder / "results/tables/mixed.csv").empty
    assert [each.state for each in status_of(folder, overlay).runs] == ["finished"] * 8


def test_the_answer_says_which_recipe_is_whose(study):
    text = (study[0] / "results/tables/answer.md").read_text()
    assert "It is about mine trained by its own loss and small trained by short on tiny" in text


def test_a_trainer_is_reviewed_and_not_trained_again_on_mended_labels(study):
    folder, overlay, _ = study
    review = {"review": {"detectors": ["loss"], "retrain": ["loss"]}}
    counts = job_counts(snakemake(folder, overlay | review, "--dry-run", "--quiet", "rules"))
    assert counts["rank_suspects"] == 4 and counts["train_mended"] == 2


def test_an_edit_of_the_script_trains_again_what_it_trained(study):
    folder, overlay, _ = study
    assert job_counts(snakemake(folder, overlay, "--dry-run", "--quiet", "rules")) == {}
    with open(folder / "trainer.py", "a") as file:
        file.write("# changed\n")
    counts = job_counts(snakemake(folder, overlay, "--dry-run", "--quiet", "rules"))
    assert counts["train_model"] == counts["test_model"] == 4


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (
            {"trainer": "command", "command": "python gone.py {dataset} {output}"},
            r"config key 'models.mine.command' names gone.py, which is not in .*; correct it\.",
        ),
        (
            {"trainer": "command", "command": "no-such-program {dataset} {output}"},
            r"config key 'models.mine.command' starts with 'no-such-program', which is no program",
        ),
    ],
)
def test_a_trainer_that_is_not_there_is_named_before_anything_runs(tmp_path, model, sentence):
    matrix = {"model": ["mine"], "recipe": ["own"]}
    overlay = changed(models={"mine": model}, recipes={"own": {"loss": "trainer"}}, matrix=matrix)
    done = snakemake(tmp_path, overlay, "--dry-run")
    assert done.returncode == 1
    assert re.search(f"^error: {sentence}", done.stderr, re.M), done.stderr
    assert not (tmp_path / "results").exists()
