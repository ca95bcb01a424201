"""Whole studies through Snakemake: from nothing to figures, and what a mistake leads to."""

import json
import os
import platform
import re
import resource
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from labelnoise.evaluation.histograms import read_scores
from labelnoise.jobs.locks import hold
from labelnoise.training.checkpoints import load_run
from latex_checks import ENGINES, compile_tables
from workflow_runs import ROOT, TINY, changed, job_counts, snakemake


def the_sentence(done):
    """Return the one sentence that a Snakemake ended in, without "error: ", and check the rest."""
    said = done.stdout + done.stderr
    sentences = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(sentences) == 1, said
    sentence = sentences[0].removeprefix("error: ")
    assert said.count(sentence) == 1
    for noise in ("Traceback", 'File "', "CalledProcessError", "message: None"):
        assert noise not in said, said
    return sentence


@pytest.fixture(scope="module")
def study(whole_study, tmp_path_factory):
    """Return a copy of the whole study, beside which dry-runs may write their configs."""
    return shutil.copytree(whole_study, tmp_path_factory.mktemp("study") / "study")


def test_each_job_of_a_run_says_in_one_line_what_it_came_to(study):
    said = (study / "output.txt").read_text()
    assert (
        len(re.findall(r"^trained tiny/small/\S+: validation Dice .* s on cpu$", said, re.M)) == 4
    )
    assert len(re.findall(r"^tested tiny/small/\S+: test Dice liver \d\.\d{4}$", said, re.M)) == 4


def test_the_full_matrix_is_listed(tmp_path):
    counts = job_counts(snakemake(tmp_path, {}, "--dry-run", "--quiet", "rules"))
    assert counts["prepare_dataset"] == 2
    assert counts["calibrate_perturbation"] == 2 * 10
    assert counts["perturb_labels"] == 2 * 10 * 3
    assert counts["train_model"] == counts["test_model"] == 3 * 2 * 2 * 10 * 3


def test_a_study_ends_in_tables_and_figures(study):
    runs = pd.read_csv(study / "results/tables/runs.csv")
    assert len(runs) == 4
    assert runs["device"].unique().tolist() == ["cpu"]
    assert (runs["host"] == platform.node()).all() and (runs["accumulation"] == 1).all()
    assert (runs["label_dice"][runs["perturbation"] == "control"] == 1).all()
    assert runs["label_dice"][runs["perturbation"] == "choppy-0.85"].between(0.8, 0.9).all()
    degradation = pd.read_csv(study / "results/tables/degradation.csv")
    assert degradation["n"].tolist() == [2, 2]
    figures = {str(path.relative_to(study)) for path in study.glob("results/figures/**/*.p*")}
    assert figures == {
        f"results/figures/{name}.{suffix}"
        for name in (
            *("answer", "degradation", "runs", "slopes", "thresholds", "roc/tiny"),
            *("perturbations/tiny", "predictions/tiny/small/short"),
        )
        for suffix in ("pdf", "png")
    }
    tables = {path.name for path in study.glob("results/tables/*")}
    assert tables == {"runs.csv", "cases.csv", "mixed.csv", "answer.md", "answer.rst"} | {
        f"{name}.{suffix}"
        for name in ("degradation", "table1", "slopes", "claims", "thresholds")
        for suffix in ("csv", "md", "tex")
    }
    for path in study.glob("results/figures/**/*.png"):
        with Image.open(path) as image:
            assert np.asarray(image.convert("L")).std() > 5


@pytest.mark.parametrize("engine", ENGINES)
def test_every_latex_table_of_a_study_compiles(study, tmp_path, engine):
    tables = sorted(study.glob("results/tables/*.tex"))
    assert len(tables) == 5
    assert compile_tables(tmp_path, engine, tables) == []


def test_the_table_is_what_the_counts_say(study):
    row = pd.read_csv(study / "results/tables/runs.csv").iloc[3]
    counts = pd.read_csv(study / row["folder"] / "test.csv")
    chosen = counts[counts["rank"] == row["checkpoint_rank"]][["tp", "fp", "fn"]].sum()
    expected = 2 * chosen["tp"] / (2 * chosen["tp"] + chosen["fp"] + chosen["fn"])
    assert row["dice"] == pytest.approx(expected, nan_ok=True)


def test_the_table_of_cases_adds_up_to_that_of_runs(study):
    runs = pd.read_csv(study / "results/tables/runs.csv")
    cases = pd.read_csv(study / "results/tables/cases.csv")
    totals = cases.groupby(["perturbation", "repeat"])[["tp", "fp", "fn"]].sum()
    dice = 2 * totals["tp"] / (2 * totals["tp"] + totals["fp"] + totals["fn"])
    found = runs.set_index(["perturbation", "repeat"])["dice"]
    pd.testing.assert_series_equal(dice.sort_index(), found.sort_index(), check_names=False)


def test_scores_lie_beside_the_counts(study):
    row = pd.read_csv(study / "results/tables/runs.csv").iloc[0]
    scores = read_scores(study / row["folder"] / "scores.h5")
    assert scores.rank == row["checkpoint_rank"]
    assert scores.histogram("liver").auc() == row["auc"]


def test_claims_are_judged_and_asked_again_only_if_they_change(study):
    claims = pd.read_csv(study / "results/tables/claims.csv")
    assert claims["claim"].tolist() == ["choppy-costs"]
    assert "U-Net loses" not in (study / "results/tables/claims.md").read_text()
    assert "small loses Dice under choppy 0.85" in (study / "results/tables/claims.md").read_text()
    own = {"own": {"kind": "slope", "dataset": "tiny", "error": "choppy", "below": 3}}
    counts = job_counts(snakemake(study, changed(claims=own), "--dry-run"))
    assert counts == {"judge_claims": 1, "write_answer": 1, "all": 1, "total": 3}
    none = changed(matrix={**TINY["matrix"], "claims": []})
    counts = job_counts(snakemake(study, none, "--dry-run"))
    assert counts == {"write_answer": 1, "all": 1, "total": 2}


def test_the_answer_comes_first(study):
    said = (study / "results/tables/answer.md").read_text()
    claims = pd.read_csv(study / "results/tables/claims.csv")
    (verdict,) = claims["verdict"]
    assert said.startswith("**1 claim: ") and f"1 {verdict}" in said
    assert "It is about small, trained by short on tiny" in said
    page = (study / "results/tables/answer.rst").read_text()
    assert page.startswith("What the study says\n") and "data:image/png;base64," in page


def test_a_study_without_claims_says_that_it_concludes_nothing(study_copy):
    none = changed(matrix={**TINY["matrix"], "claims": []})
    done = snakemake(study_copy, none)
    assert done.returncode == 0, done.stderr
    said = (study_copy / "results/tables/answer.md").read_text()
    assert said.startswith("**No claims are declared") and "claims.md" not in said


def test_the_drop_is_taken_apart_beside_its_ceiling(study):
    table = pd.read_csv(study / "results/tables/thresholds.csv")
    assert table["decision"].tolist() == ["half", "loss", "clean", "perturbed", "best"] * 2
    rows = table[table["perturbation"] == "choppy-0.85"].set_index("decision")
    parts = rows["drop_mean"] + rows["part_mean"]
    np.testing.assert_allclose(parts.iloc[1:], rows.loc["half", "drop_mean"], atol=1e-9)
    ceiling = pd.read_csv(study / "results/ceiling/tiny/choppy-0.85.csv")
    assert rows.loc["half", "ceiling_dice"] == ceiling["dice"].item()
    assert rows.loc["loss", "ceiling_dice"] == ceiling["dice_at_half"].item()


def test_a_ceiling_is_made_by_name(study_copy):
    target = "results/ceiling/tiny/choppy-0.85.csv"
    (row,) = pd.read_csv(study_copy / target).to_dict("records")
    assert (row["recipe"], row["structure"]) == ("short", "liver")
    assert row["threshold"] < 0.2 and row["volume_ratio"] > 1 and row["recall"] > 0.9
    assert row["dice"] < row["dice_at_half"] < 1
    again = changed(recipes={"short": {**TINY["recipes"]["short"], "background_share": 0.5}})
    assert job_counts(snakemake(study_copy, TINY, target, "--dry-run")) == {}
    counts = job_counts(snakemake(study_copy, again, target, "--dry-run"))
    assert counts == {"estimate_ceiling": 1, "total": 1}


def test_mitigations_are_compared_where_a_baseline_is_named(study, study_copy):
    assert not (study / "results/tables/mitigation.csv").exists()
    # Of one recipe, whose thresholds are what there is.
    against = TINY | {"mitigation": {"baseline": "short"}}
    counts = job_counts(snakemake(study_copy, against, "--dry-run"))
    done = snakemake(study_copy, against)
    assert done.returncode == 0, done.stderr
    assert counts == {"compare_mitigations": 1, "plot_mitigation": 1, "all": 1, "total": 3}
    table = pd.read_csv(study_copy / "results/tables/mitigation.csv")
    assert table["at"].tolist() == ["clean", "perturbed"]
    parts = pd.read_csv(study_copy / "results/tables/thresholds.csv").set_index("decision")
    for perturbation, column, sign in (("choppy-0.85", "gained", 1), ("control", "cost", -1)):
        dice = parts.loc[parts["perturbation"] == perturbation, "dice_mean"]
        change = dice[["clean", "perturbed"]] - dice["half"]
        assert (sign * table[f"{column}_mean"]).tolist() == pytest.approx(change.tolist(), abs=1e-9)
    for name in ("tables/mitigation.md", "tables/mitigation.tex", "figures/mitigation.pdf"):
        assert (study_copy / "results" / name).stat().st_size > 500


def test_figures_is_the_target_of_everything(study):
    asked = ("--dry-run", "--forcerun", "summarise_runs")
    counts = job_counts(snakemake(study, TINY, "figures", *asked))
    everything = job_counts(snakemake(study, TINY, *asked))
    assert counts.pop("figures") == everything.pop("all") == 1
    assert counts == everything
    assert counts["compare_with_paper"] == counts["plot_slopes"] == counts["plot_roc"] == 1


def test_repeats_are_paired(study):
    def record(perturbation, repeat):
        folder = study / f"results/runs/tiny/small/short/{perturbation}/rep{repeat}"
        return json.loads((folder / "run.json").read_text())

    for repeat in (0, 1):
        control, error = record("control", repeat), record("choppy-0.85", repeat)
        assert control["training_seed"] == error["training_seed"]
        assert control["label_seed"] != error["label_seed"]
    assert record("control", 0)["training_seed"] != record("control", 1)["training_seed"]
    assert record("control", 0)["digests"]["dataset"] == record("control", 1)["digests"]["dataset"]


def test_a_run_predicts_without_the_config(study):
    trained = load_run(study / "results/runs/tiny/small/short/control/rep0")
    hounsfield_NHW = np.random.default_rng(0).normal(0, 100, (2, 40, 50)).astype(np.float32)
    probabilities = trained.predict(hounsfield_NHW)
    assert probabilities.shape == (2, 2, 40, 50)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_nothing_is_left_to_do_and_previews_do_not_change_that(study):
    assert job_counts(snakemake(study, TINY | {"preview_every": 1}, "--dry-run")) == {}


def test_a_larger_matrix_trains_only_what_is_missing(study):
    """Of 2 networks, 3 perturbations and 3 repeats, all but the 4 runs that are there."""
    larger = {"model": ["small", "segnet"], "repeats": 3}
    larger["perturbation"] = ["control", "choppy-0.85", "random-0.90"]
    counts = job_counts(snakemake(study, changed(matrix=larger), "--dry-run"))
    assert counts["train_model"] == counts["test_model"] == 18 - 4
    assert counts["perturb_labels"] == 9 - 4 and counts["calibrate_perturbation"] == 1
    assert "prepare_dataset" not in counts


def test_a_report_holds_the_figures_and_captions(study):
    done = snakemake(study, TINY, "--report", "report.html")
    assert done.returncode == 0, done.stderr
    page = (study / "report.html").read_text(encoding="utf-8")
    assert "degradation.png" in page and "95 % interval over repeats and test cases" in page
    assert "slopes.png" in page and "roc/tiny.png" in page and "1806.04618" in page


def test_a_wrong_config_stops_before_anything_runs(tmp_path):
    done = snakemake(tmp_path, changed(perturbations={"choppy-0.85": {"target_dice": 1.2}}))
    assert done.returncode != 0
    sentence = the_sentence(done)
    assert "perturbations.choppy-0.85.target_dice" in sentence and "1.2" in sentence
    assert not (tmp_path / "results").exists()


def test_a_matrix_of_controls_alone_draws_no_label_errors(tmp_path):
    study = changed(matrix={"perturbation": ["control"]})
    counts = job_counts(snakemake(tmp_path, study, "--dry-run"))
    assert "plot_perturbations" not in counts and counts["plot_degradation"] == 1


def test_an_unknown_encoder_stops_before_anything_runs(tmp_path):
    study = changed(models={"small": {"network": "smp.Unet", "encoder": "nope"}})
    done = snakemake(tmp_path, study)
    assert done.returncode != 0
    assert "config key 'models.small': Unknown encoder 'nope'" in the_sentence(done)
    assert not (tmp_path / "results").exists()


def test_a_mistake_in_the_data_is_one_sentence_and_the_log_has_the_traceback(tmp_path):
    for sub in ("images", "masks"):
        (tmp_path / "pairs" / sub).mkdir(parents=True)
    for number in range(3):
        name = f"p{number}_s0.png"
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pairs/images" / name)
        if number:
            Image.fromarray((pixels > 99).astype(np.uint8) * 255).save(
                tmp_path / "pairs/masks" / name
            )
    pairs = {
        "source": "images",
        "folder": "pairs",
        "case": r"(p\d+)",
        "classes": {"organ": [255]},
        "window": [0, 255],
    }
    study = changed(datasets={"pairs": pairs})
    target = "results/datasets/pairs.h5"
    done = snakemake(tmp_path, study, target, "results/datasets/tiny.h5")
    assert done.returncode != 0
    sentence = the_sentence(done)
    assert "p0_s0" in sentence and "mask" in sentence
    assert "Error in rule prepare_dataset:" in done.stderr
    assert "results/logs/prepare_dataset/pairs.log" in done.stderr
    log = (tmp_path / "results/logs/prepare_dataset/pairs.log").read_text()
    assert sentence in log and "Traceback" in log
    # Nothing half-written, and what could be done is done.
    made = {path.name for path in (tmp_path / "results/datasets").iterdir()}
    assert made == {"tiny.h5", "tiny.json"}


def test_a_sentence_is_said_however_quiet_snakemake_is(tmp_path):
    done = snakemake(tmp_path, changed(matrix={"repeats": 0}), "--quiet", "all")
    assert done.returncode != 0
    assert "matrix.repeats" in the_sentence(done)
    (tmp_path / "results").mkdir()
    lock = hold(tmp_path / "results/.lock", "the study")
    try:
        done = snakemake(tmp_path, TINY, "results/datasets/tiny.h5", "--quiet", "all")
        # To look is allowed.
        looked = snakemake(tmp_path, TINY, "--dry-run")
    finally:
        lock.release()
    assert done.returncode != 0
    assert f"results folder results is in use by process {os.getpid()}" in the_sentence(done)
    assert looked.returncode == 0


def test_near_names_of_a_mistyped_target_are_listed(tmp_path):
    run = "results/runs/tiny/small/{}/control/rep0/test.csv"
    done = snakemake(tmp_path, TINY, run.format("shrot"))
    assert done.returncode != 0
    assert f"\nNear names: {run.format('short')}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_said_and_leaves_nothing_half_written(tmp_path):
    def limit():
        # A file may not grow beyond this, which a process meets as it meets a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    larger = changed(datasets={"tiny": TINY["datasets"]["tiny"] | {"size": 64}})
    done = snakemake(tmp_path, larger, "results/datasets/tiny.h5", limit=limit)
    assert done.returncode != 0
    assert "may not grow further" in done.stderr
    assert list(tmp_path.glob("results/datasets/*")) == []


def test_a_results_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "results").write_text("a file is in the way")
    done = snakemake(tmp_path, TINY, "results/datasets/tiny.h5")
    assert done.returncode != 0
    expected = "results cannot go to the folder results, since results is a file"
    assert expected in the_sentence(done)
    assert (tmp_path / "results").read_text() == "a file is in the way"


def test_the_readme_names_files_and_targets_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text()
    for line in text.splitlines():
        if line.startswith("make "):
            assert f"\n{line.split()[1]}:" in makefile, line
        if line.startswith("snakemake ") and "--configfile" in line:
            assert (ROOT / line.split("--configfile ")[1].split()[0]).exists(), line
