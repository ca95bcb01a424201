"""A run of a trainer: what it leaves, what it scores, and what an end does to it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import command_trainer
from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.errors import InputError
from labelnoise.evaluation.histograms import read_scores
from labelnoise.evaluation.score import describe_score, score_run
from labelnoise.evaluation.verify import compare_runs, make_again
from labelnoise.files import read_json
from labelnoise.jobs import leash
from labelnoise.study import Model, Recipe, Run, RunFolder, Task
from labelnoise.training.checkpoints import load_run
from labelnoise.training.run import describe_run, train_run
from labelnoise.training.trainers.command import command_words
from labelnoise.training.trainers.predictions import Predictions
from tiny import CPU, write_files

SCRIPT = command_trainer.__file__
COMMAND = f"python {SCRIPT} {{dataset}} {{output}} --device {{device}} --seed {{seed}}"
RECIPE = Recipe("trainer")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("data"))


def make_task(files, command=COMMAND, recipe=RECIPE):
    run = Run("discs", "mine", "own", "choppy-x", 0)
    return Task(run, Model("", {"command": command}, "command"), recipe, 1, **files)


def train(path, files, command=COMMAND):
    folder = RunFolder(Path(path))
    train_run(make_task(files, command), folder, CPU)
    return folder


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    folder = train(tmp_path_factory.mktemp("run") / "rep0", files)
    score_run(files["dataset"], files["labels"], folder, CPU, {"*": 2})
    return folder


def threshold(files):
    """The trainer's threshold, of the wrong labels."""
    data, labels = Dataset(files["dataset"]), LabelFile(files["labels"])
    rows = data.rows("train")
    images_NHW, wrong_NHW = data.read(rows)[0][:, 0], labels.read(rows, 0)
    return (images_NHW[wrong_NHW == 0].mean() + images_NHW[wrong_NHW == 1].mean()) / 2


def test_our_counts_are_those_of_what_the_trainer_predicts(run, files):
    data, middle = Dataset(files["dataset"]), threshold(files)
    rows = data.rows("test")
    images_NKHW, labels_NHW = data.read(rows)
    predicted_NHW = images_NKHW[:, 0] > middle
    table = pd.read_csv(run.counts)
    assert table["case"].tolist() == data.case[rows].tolist()
    assert table["tp"].tolist() == (predicted_NHW & (labels_NHW == 1)).sum(axis=(1, 2)).tolist()
    assert table["fp"].tolist() == (predicted_NHW & (labels_NHW == 0)).sum(axis=(1, 2)).tolist()
    scores = read_scores(run.scores)
    assert np.isnan(scores.loss_threshold) and scores.rank == 1
    # Ten times the distance from the threshold is the log-odds, which rank as the intensities do.
    flat, truth = images_NKHW.ravel(), labels_NHW.ravel() == 1
    pairs = flat[truth][:, None] > flat[~truth][None, :]
    assert scores.histogram("disc").auc() == pytest.approx(pairs.mean(), abs=1e-3)
    assert describe_score(table.to_dict("records"), run).startswith("tested discs/mine/own/")


def test_the_record_says_what_is_known(run, files):
    record = read_json(run.record)
    assert record["definitions"]["recipe"] == {"loss": "trainer"}
    assert record["definitions"]["model"]["trainer"] == "command"
    assert record["parameters"] is None and record["trainer"] == {"name": "command"}
    dice = record["checkpoints"][0]["metrics"]["validation_dice"]
    assert 0.5 < dice < 1 and f"Dice {dice:.4f}" in describe_run(run)
    history = pd.read_csv(run.history)
    assert history.to_dict("records") == [{"epoch": 1, "validation_dice": dice}]
    assert pd.read_csv(run.timing)["train"][0] > 0
    assert not run.state.exists()
    rows = Dataset(files["dataset"]).rows("train")
    kept = Predictions(run.predictions).rows
    assert not set(kept) & set(rows) and len(kept) == 8


def test_a_network_is_not_loaded_from_the_run_of_a_trainer(run):
    with pytest.raises(InputError, match=r"is of a trainer, whose network stays its own"):
        load_run(run.path)


def test_a_run_made_again_is_compared_with_the_first(run, files, tmp_path):
    again = RunFolder(tmp_path / "rep0")
    make_again(make_task(files), again, CPU, {"*": 2})
    compared = compare_runs(run, again)
    assert {each.file for each in compared} == {
        *("history.csv", "test.csv", "surfaces.csv", "checkpoints/predictions.h5")
    }
    assert not any(each.difference for each in compared)
    other = train(tmp_path / "other", files, f"{COMMAND} --device cuda")
    score_run(files["dataset"], files["labels"], other, CPU, {"*": 2})
    assert not any(each.difference for each in compare_runs(run, other))


def test_a_command_that_fails_is_told_with_its_last_line_and_goes_on_where_it_was(files, tmp_path):
    command = f"{COMMAND} --fail-first"
    with pytest.raises(InputError, match=r"'mine' ended with code 1: no luck the first time \(all"):
        train(tmp_path / "rep0", files, command)
    folder = RunFolder(tmp_path / "rep0")
    assert not folder.record.exists() and (folder.trainer / "output/begun").exists()
    train(tmp_path / "rep0", files, command)
    assert len(read_json(folder.record)["interruptions"]) == 1
    assert not folder.state.exists()


def test_what_another_training_left_is_not_gone_on_with(files, tmp_path):
    with pytest.raises(InputError):
        train(tmp_path / "rep0", files, f"{COMMAND} --fail-first")
    folder = train(tmp_path / "rep0", files)
    assert read_json(folder.record)["interruptions"] == []


def test_a_program_that_is_not_there_is_named(files, tmp_path):
    with pytest.raises(InputError, match="code 1: no-such-program cannot be started: No such file"):
        train(tmp_path / "rep0", files, "no-such-program {dataset} {output}")


def test_blanks_in_paths_and_doubled_braces_stay():
    words = command_words("run '{{x}}' a={dataset}", {"dataset": Path("a b"), "output": ""})
    assert words == ["run", "{x}", "a=a b"]
    assert command_words("python x.py", {})[0] == sys.executable


def test_a_program_ends_with_the_process_that_asked_for_it(tmp_path):
    """That process is killed, which it cannot see coming; the program's own child ends too."""
    script = tmp_path / "sleeper.py"
    script.write_text(
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'part')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        f"os.replace({str(tmp_path / 'part')!r}, {str(tmp_path / 'pids')!r})\n"
        "time.sleep(600)\n"
    )
    words = [sys.executable, "-P", leash.__file__, str(tmp_path / "lock"), sys.executable, script]
    asking = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import subprocess, sys\nsubprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE).wait()",
            *map(str, words),
        ]
    )
    pids = wait_for(lambda: (tmp_path / "pids").exists()) and (tmp_path / "pids").read_text()
    asking.send_signal(signal.SIGKILL)
    asking.wait()
    for pid in pids.split():
        assert wait_for(lambda pid=pid: not is_running(int(pid)))


def test_a_program_waits_for_one_that_is_still_ending(tmp_path):
    said, go = tmp_path / "said", tmp_path / "go"
    append = f"import os, pathlib, sys, time\nfile = open({str(said)!r}, 'a', buffering=1)\n"
    first = append + (
        "file.write('first begins\\n')\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
        "file.write('first ends\\n')"
    )
    second = append + "file.write('second begins\\n')"
    words = [sys.executable, "-P", leash.__file__, str(tmp_path / "lock"), sys.executable, "-c"]
    one = subprocess.Popen([*words, first], stdin=subprocess.PIPE)
    assert wait_for(said.exists) and wait_for(lambda: "begins" in said.read_text())
    other = subprocess.Popen([*words, second], stdin=subprocess.PIPE)
    # Long enough for most machines to start it too early, if it could.
    time.sleep(0.5)
    go.touch()
    assert [one.wait(), other.wait()] == [0, 0]
    assert said.read_text().splitlines() == ["first begins", "first ends", "second begins"]


def wait_for(holds, seconds=60):
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.05)
    return holds()


def is_running(pid):
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_the_trainer_sees_seed_and_device(files, tmp_path):
    command = "sh -c 'echo {{}} {seed} {device}; exit 3' {dataset} {output}"
    with pytest.raises(InputError, match=r"code 3: \{\} \d+ cpu \(all"):
        train(tmp_path / "rep0", files, command)
    begun = json.loads((RunFolder(tmp_path / "rep0").trainer / "begun.json").read_text())
    said = (RunFolder(tmp_path / "rep0").trainer / "output.txt").read_text()
    assert begun["identity"]["seed"] in said
