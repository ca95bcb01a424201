"""Status of studies whose runs were put into known states by hand."""

import json
import os
import re
from dataclasses import replace

import pytest

from labelnoise.errors import InputError
from labelnoise.jobs.eta import Rate, estimate
from labelnoise.jobs.status_page import render, render_failures
from labelnoise.jobs.study_status import Progress, choose_finished
from study_tree import HOLDER, NOW, SENTENCE, SETTING, Tree


def test_every_state_is_counted(tmp_path, holding):
    """Eight runs: two finished, one each of the other states, one waiting untouched."""
    tree = Tree(tmp_path, perturbation=["control", "choppy-0.85"], repeats=4)
    done, tested, going, failed, untested, changed, stopped, untouched = tree.runs
    for run in (done, tested):
        tree.train(run)
        tree.test(run)
    tree.begin(going, 1, 2.0)
    holding(tree.folder(going).lock, json.dumps(HOLDER))
    log = tree.fail("train_model", failed.name)
    tree.train(untested)
    tree.train(changed, epochs=3)
    tree.test(changed)
    tree.begin(stopped, 1, 2.0)

    status = tree.status()
    assert {each.run: each.state for each in status.runs} == {
        done: "finished",
        tested: "finished",
        going: "running",
        failed: "failed",
        untested: "trained",
        changed: "outdated",
        stopped: "stopped",
        untouched: "waiting",
    }
    progress = {each.run: each.progress for each in status.runs}
    assert progress[going] == progress[stopped] == Progress(1, 2, 2.0)
    assert progress[untouched] is None
    assert [(item.rule, item.name, item.sentence, item.log) for item in status.failures] == [
        ("train_model", failed.name, SENTENCE, log)
    ]
    text = render(status, NOW)
    assert (
        "8 runs in" in text
        and "2 finished, 1 running, 1 failed, 1 stopped, 1 to be tested, 1 outdated, 1 wait" in text
    )
    assert re.search(r"^tiny +small +short +2>! +0sto +2/8>!sto$", text, re.MULTILINE)
    assert re.search(
        rf"{going.name}: epoch 1 of 2, since \S+ \(30 min\), on NVIDIA H100 GPU-0123abcd, node7 "
        r"\(process 123\)",
        " ".join(text.split()),
    )
    assert f"{stopped.name}: after epoch 1 of 2" in text
    assert f"{SENTENCE}\n    {log}" in text
    assert f"{changed.name}: recipe.epochs 3 instead of 2 in the config" in text


def test_a_run_tested_with_other_tolerances_is_to_be_tested(tmp_path):
    tree = Tree(tmp_path)
    run = tree.runs[0]
    tree.train(run)
    tree.test(run)
    lines = ["case,structure,tolerance,hd95", "a,liver,2.0,3.5", "a,tumour,1.0,"]
    tree.folder(run).surfaces.write_text("\n".join(lines) + "\n")
    for tolerances, state in (
        ({"*": 2.0, "tumour": 1}, "finished"),
        ({"*": 2.0}, "trained"),
        ({"*": 1.0, "liver": 3.0}, "trained"),
    ):
        tree.study = replace(tree.study, tolerances=tolerances)
        assert tree.states()[run] == state


def test_a_training_that_nobody_goes_on_with_is_stopped(tmp_path, holding):
    """As a last time limit leaves it: no error in its log, retries used up, Snakemake gone.

    1330 epochs took 2660 s, so 2670 are left of it, and 3 x 4000 of the other runs.
    """
    tree = Tree(tmp_path)
    run = tree.runs[0]
    tree.study.recipes["short"] = replace(tree.study.recipes["short"], epochs=4000)
    tree.begin(run, 1330, 2660.0, epochs=4000)
    tree.log("train_model", run.name, "INFO device: CPU", "WARNING stopped; it can go on")
    assert tree.states()[run] == "stopped"
    for text in (render(tree.status(), NOW), render_failures(tree.status())):
        assert f"{run.name}: after epoch 1330 of 4000" in text
        text = " ".join(text.split())
        assert "without an error of their own: by a time limit" in text
        assert "The same snakemake command goes on from there" in text
        assert "set a longer runtime in the profile's set-resources" in text
    assert tree.measure() == {SETTING: Rate(2.0)}
    assert estimate(tree.status().runs, tree.measure()).seconds == 2 * (2670 + 3 * 4000)
    assert "ETA: the rest takes 8 h 09 min, one at a time" in render(tree.status(), NOW)
    assert "No snakemake is making them now." in render(tree.status(), NOW)

    maker = holding(tree.results.lock, json.dumps(HOLDER | {"pid": 77}))
    assert tree.states()[run] == "waiting"
    text = render(tree.status(), NOW)
    assert f"Interrupted, will go on\n  {run.name}: after epoch 1330 of 4000" in text
    assert "Being made by process 77 on node7" in text
    assert render_failures(tree.status()) == "Nothing has failed."
    maker.kill()
    maker.wait()
    assert tree.states()[run] == "stopped"
    tree.fail("train_model", run.name)
    assert tree.states()[run] == "failed"


def test_runs_that_do_not_fit_their_neighbours_are_named(tmp_path):
    tree = Tree(tmp_path)
    for run, code in zip(tree.runs, ["4d5e6f", "4d5e6f", "1a2b3c"], strict=False):
        tree.train(run, code=code)
    other = tree.runs[2]
    assert tree.status().mixed == [(other, "code 1a2b3c instead of 4d5e6f")]
    assert f"{other.name}: code 1a2b3c instead of 4d5e6f" in render(tree.status(), NOW)
    # What is to be trained again anyway is not held against the others.
    tree.train(other, code="1a2b3c", epochs=3)
    assert tree.status().mixed == [(other, "recipe.epochs 3 instead of 2 in the config")]


def test_a_definition_is_compared_by_value(tmp_path):
    tree = Tree(tmp_path)
    run = tree.runs[0]
    tree.train(run, epochs=2.0)
    assert tree.states()[run] == "trained"
    # As a version wrote it that knew fewer keys.
    record = json.loads(tree.folder(run).record.read_text())
    del record["definitions"]["recipe"]["accumulation"]
    tree.folder(run).record.write_text(json.dumps(record))
    assert tree.states()[run] == "outdated"


def test_a_record_from_before_schedules_and_augmentation_fits_a_recipe_without_them(tmp_path):
    tree = Tree(tmp_path)
    run, other = tree.runs[:2]
    tree.train(run)
    assert not {"schedule", "augmentation"} & {
        *json.loads(tree.folder(run).record.read_text())["definitions"]["recipe"]
    }
    assert tree.states()[run] == "trained"
    tree.train(other, schedule={"kind": "poly", "power": 0.9, "warmup": 0})
    assert tree.states()[other] == "outdated"
    said = dict(tree.status().mixed)[other]
    assert said == (
        'recipe.schedule {"kind": "poly", "power": 0.9, "warmup": 0} instead of none in the config'
    )


def test_a_run_of_edited_code_is_outdated(tmp_path):
    tree = Tree(tmp_path, perturbation=["control", "choppy-0.85"])
    control, error = tree.runs[0], tree.runs[-1]
    kind = replace(tree.study.perturbations["choppy-0.85"], kind="mykinds.shave", code="1a2b")
    tree.study.perturbations["choppy-0.85"] = kind
    for run in (control, error):
        tree.train(run)
    path = tree.folder(error).record
    record = json.loads(path.read_text())
    drawn = {"kind": "mykinds.shave", "code": "1a2b"}
    path.write_text(json.dumps(record | {"label_kind": drawn}))
    assert tree.states()[control] == tree.states()[error] == "trained"
    path.write_text(json.dumps(record | {"label_kind": drawn | {"code": "3c4d"}}))
    assert tree.states()[control] == "trained" and tree.states()[error] == "outdated"
    says = "error mykinds.shave code 3c4d instead of code 1a2b in the config"
    assert tree.status().mixed == [(error, says)]


def test_runs_outside_the_matrix_do_not_count(tmp_path):
    wide = Tree(tmp_path, perturbation=["control", "choppy-0.85"], repeats=3)
    for run in wide.runs:
        wide.train(run)
        wide.test(run)
    wide.fail("perturb_labels", "tiny/choppy-0.85/rep0")
    narrow = Tree(tmp_path, perturbation=["control", "random-0.85"], repeats=2)
    assert narrow.status().count() == {"finished": 2, "waiting": 2}
    assert not narrow.status().failures


def test_a_run_is_running_until_its_process_dies(tmp_path, holding):
    tree = Tree(tmp_path)
    run = tree.runs[0]
    tree.begin(run, 0)
    assert tree.states()[run] == "stopped"
    process = holding(tree.folder(run).lock, "")
    assert tree.states()[run] == "running"
    process.kill()
    process.wait()
    assert tree.states()[run] == "stopped"


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_running_run_names_its_device_once_it_has_one(tmp_path, holding, device):
    tree = Tree(tmp_path)
    holder = {**HOLDER, "device": device} if device else {**HOLDER}
    if not device:
        del holder["device"]
    holding(tree.folder(tree.runs[0]).lock, json.dumps(holder))
    assert f"on {device or 'no device yet'}, node7" in " ".join(render(tree.status(), NOW).split())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"epoch": 1}', '{"epoch": "x", "epochs": 1}'])
def test_a_progress_file_that_says_nothing_is_passed_over(tmp_path, text):
    tree = Tree(tmp_path)
    tree.begin(tree.runs[0], 1)
    tree.folder(tree.runs[0]).progress.write_text(text)
    assert tree.status().runs[0].progress is None


def test_a_running_run_is_not_failed_by_its_log(tmp_path, holding):
    """A log of an earlier attempt may end in an error."""
    tree = Tree(tmp_path)
    run = tree.runs[0]
    tree.fail("train_model", run.name, "no GPU came free.")
    holding(tree.folder(run).lock, json.dumps(HOLDER))
    assert tree.states()[run] == "running"
    assert not tree.status().failures


def test_a_failed_test_is_a_failed_run(tmp_path):
    tree = Tree(tmp_path)
    run = tree.runs[0]
    tree.train(run)
    log = tree.fail("test_model", run.name, "a checkpoint cannot be read.")
    failures = tree.status().failures
    assert tree.states()[run] == "failed"
    assert [(item.rule, item.log) for item in failures] == [("test_model", log)]
    tree.test(run)
    assert tree.states()[run] == "finished"


def test_a_test_older_than_the_training_does_not_count(tmp_path):
    tree = Tree(tmp_path)
    run = tree.runs[0]
    tree.train(run)
    tree.test(run)
    os.utime(tree.folder(run).scores, (1, 1))
    assert tree.states()[run] == "trained"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"seconds": 1, "definitions": {"model": 3}}'])
def test_a_record_that_cannot_be_read_is_a_failure(tmp_path, text):
    tree = Tree(tmp_path)
    run = tree.runs[0]
    tree.train(run)
    tree.folder(run).record.write_text(text)
    assert tree.states()[run] == "failed"
    assert "run.json" in tree.status().failures[0].sentence


def test_failures_before_and_after_the_runs(tmp_path):
    """2 perturbations x 2 repeats: data block 4 runs, a calibration 2, labels 1, a figure none."""
    tree = Tree(tmp_path)
    tree.fail("prepare_dataset", "tiny", "no data.")
    tree.fail("calibrate_perturbation", "tiny/choppy-0.85", "no severity.")
    tree.fail("perturb_labels", "tiny/choppy-0.85/rep1", "no labels.")
    tree.fail("estimate_ceiling", "tiny/choppy-0.85", "no ceiling.")
    tree.fail("plot_roc", "tiny", "no figure.")
    tree.fail("plot_roc", "another", "not of this study.")
    tree.fail("summarise_runs", "../summarise_runs", "no table.")
    found = [(item.rule, item.name, item.blocked) for item in tree.status().failures]
    assert found == [
        ("prepare_dataset", "tiny", 4),
        ("calibrate_perturbation", "tiny/choppy-0.85", 2),
        ("perturb_labels", "tiny/choppy-0.85/rep1", 1),
        ("summarise_runs", "", 0),
        ("estimate_ceiling", "tiny/choppy-0.85", 0),
        ("plot_roc", "tiny", 0),
    ]
    assert tree.status().count() == {"waiting": 4}
    for output in ("datasets/tiny.h5", "labels/tiny/choppy-0.85/rep1.h5"):
        path = tree.results.root / output
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert "no data." not in render_failures(tree.status())
    assert "no labels." not in render_failures(tree.status())
    assert "no severity." in render_failures(tree.status())


def test_a_finished_run_is_chosen_by_name_or_at_random(tmp_path):
    tree = Tree(tmp_path, repeats=6)
    for run in tree.runs[:2]:
        tree.train(run)
        tree.test(run)
    status = tree.status()
    assert {choose_finished(status) for _ in range(100)} == set(tree.runs[:2])
    assert choose_finished(status, tree.runs[1].name) == tree.runs[1]


def test_what_is_not_finished_is_not_chosen(tmp_path):
    tree = Tree(tmp_path)
    with pytest.raises(InputError, match=rf"no run in {tree.results.root} is finished; let"):
        choose_finished(tree.status())
    waiting, changed, done, _ = tree.runs
    for run, epochs in ((changed, 3), (done, 2)):
        tree.train(run, epochs=epochs)
        tree.test(run)
    for name, said in (
        (waiting.name, rf"is not finished but waiting; .*/test.csv, or .* {done.name}\."),
        (changed.name, "as it is now: recipe.epochs 3 instead of 2 in the config"),
        (done.name.replace("rep", "repeat"), f"has no run .*{done.name}"),
        ("", f"has no run .*{done.name}"),
    ):
        with pytest.raises(InputError, match=said):
            choose_finished(tree.status(), name)
