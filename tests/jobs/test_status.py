"""Status of studies whose runs were put into known states by hand."""

import fcntl
import json
import os
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from labelnoise.config import expand_runs, load_config
from labelnoise.jobs.status import (
    Eta,
    Rate,
    Run,
    Status,
    estimate,
    gather,
    last_error,
    lock_holder,
    makespan,
    measure,
)
from labelnoise.jobs.status_text import cell_text, duration, render, render_failures, table
from labelnoise.study import run_name
from workflow_runs import ROOT, TINY, snakemake

NOW = datetime(2026, 11, 22, 21, 30, tzinfo=UTC)
HOLDER = {
    "pid": 123,
    "host": "node7",
    "device": "NVIDIA H100 GPU-0123abcd-4567-89ab-cdef-0123456789ab",
    "started": "2026-11-22T21:00:00+00:00",
}
SENTENCE = "the loss became nan in epoch 3, step 2; lower the learning_rate (0.01)."
# A process that locks a file as a training does, until its input ends.
HOLD = """
import fcntl, sys
handle = open(sys.argv[1], "a+")
fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
handle.write(sys.argv[2])
handle.flush()
print("locked", flush=True)
sys.stdin.read()
"""


class Tree:
    """A results folder of the tiny study, or of one like it, whose runs are put into states."""

    def __init__(self, folder, **matrix):
        overlay = folder / "study.yaml"
        overlay.write_text(yaml.safe_dump(TINY | {"matrix": TINY["matrix"] | matrix}))
        self.config = load_config(ROOT / "config.yaml", overlay)
        self.results = folder / "results"
        self.names = [run_name(run) for run in expand_runs(self.config)]

    def status(self):
        return gather(self.config, self.results)

    def states(self):
        return {run.name: run.state for run in self.status().runs}

    def log(self, rule, name, *lines):
        path = self.results / "logs" / rule / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"2026-11-22 21:00:00 {line}\n" for line in lines))
        return path

    def epochs(self, name, *seconds, of=2):
        lines = [
            f"INFO epoch {index} of {of}: loss 0.5000, validation loss nan, validation Dice "
            f"0.1000, {value:.1f} s"
            for index, value in enumerate(seconds, start=1)
        ]
        return self.log("train_model", name, "INFO device: CPU of vm, as asked (gpu=0)", *lines)

    def fail(self, rule, name, sentence=SENTENCE):
        trace = "Traceback (most recent call last):\n  File 'x', line 1\nInputError: it"
        return self.log(rule, name, "INFO device: CPU", f"ERROR {sentence}\n{trace}")

    def train(self, name, seconds=10.0, recipe=None, job=None):
        """Leave what a training leaves; `job`: seconds that Snakemake measured."""
        dataset, model, default, *_ = name.split("/")
        definitions = {
            "model": self.config["models"][model],
            "recipe": recipe or self.config["recipes"][default],
        }
        folder = self.results / "runs" / name
        folder.mkdir(parents=True, exist_ok=True)
        record = {"dataset": dataset, "seconds": seconds, "definitions": definitions}
        (folder / "run.json").write_text(json.dumps(record))
        self.benchmark("train_model", name, job)

    def test(self, name, job=None):
        for file in ("test.csv", "scores.h5"):
            (self.results / "runs" / name / file).write_text("x")
        self.benchmark("test_model", name, job)

    def benchmark(self, rule, name, seconds):
        if seconds is not None:
            path = self.results / "benchmarks" / rule / f"{name}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"s": seconds, "h:m:s": "0"}) + "\n")

    def state(self, name):
        folder = self.results / "runs" / name / ".state"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lock").write_text(json.dumps(HOLDER))
        (folder / "state.pt").write_text("x")
        return folder


@pytest.fixture
def holding():
    """Give a function that has a process lock a file; the processes end with the test."""
    started = []

    def hold(path, content):
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", HOLD, path, content]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "locked\n"
        return process

    yield hold
    for process in started:
        process.stdin.close()
        process.stdout.close()
        process.wait()


def status_command(folder, *arguments):
    command = [sys.executable, ROOT / "scripts" / "status.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


def make_runs(state, number, cell=("d", "m", "r"), epochs=10, **details):
    return [Run(*cell, "control", index, state, epochs, **details) for index in range(number)]


def test_every_state_is_counted(tmp_path, holding):
    """Eight runs: two finished, one each of the other states, one waiting untouched."""
    tree = Tree(tmp_path, perturbation=["control", "choppy-0.85"], repeats=4)
    done, tested, going, failed, untested, changed, stopped, untouched = tree.names
    for name in (done, tested):
        tree.train(name)
        tree.test(name)
    tree.epochs(going, 2.0)
    holding(tree.results / "runs" / going / ".state" / "lock", json.dumps(HOLDER))
    log = tree.fail("train_model", failed)
    tree.train(untested)
    tree.train(changed, recipe=tree.config["recipes"]["short"] | {"epochs": 3})
    tree.test(changed)
    tree.state(stopped)
    tree.epochs(stopped, 2.0)

    status = tree.status()
    assert {run.name: run.state for run in status.runs} == {
        done: "finished",
        tested: "finished",
        going: "running",
        failed: "failed",
        untested: "trained",
        changed: "outdated",
        stopped: "waiting",
        untouched: "waiting",
    }
    runs = {run.name: run for run in status.runs}
    assert (runs[going].epoch, runs[going].epochs) == (1, 2)
    assert runs[stopped].interrupted and runs[stopped].epoch == 1
    assert not runs[untouched].interrupted
    assert [(item.rule, item.name, item.sentence, item.log) for item in status.failures] == [
        ("train_model", failed, SENTENCE, log)
    ]
    text = render(status, NOW)
    assert (
        "8 runs in" in text
        and "2 finished, 1 running, 1 failed, 1 to be tested, 1 outdated, 2 waiting" in text
    )
    assert re.search(r"^tiny +small +short +2>! +0to +2/8>!to$", text, re.MULTILINE)
    assert re.search(
        rf"{going}: epoch 1 of 2, since \S+ \(30 min\), on NVIDIA H100 GPU-0123abcd, node7 "
        r"\(process 123\)",
        " ".join(text.split()),
    )
    assert f"{stopped}: after epoch 1 of 2" in text
    assert f"{SENTENCE}\n    {log}" in text


def test_runs_outside_the_matrix_do_not_count(tmp_path):
    wide = Tree(tmp_path, perturbation=["control", "choppy-0.85"], repeats=3)
    for name in wide.names:
        wide.train(name)
        wide.test(name)
    wide.fail("perturb_labels", "tiny/choppy-0.85/rep0")
    narrow = Tree(tmp_path, perturbation=["control", "random-0.85"], repeats=2)
    assert narrow.status().count() == {"finished": 2, "waiting": 2}
    assert not narrow.status().failures


def test_a_run_is_running_until_its_process_dies(tmp_path, holding):
    tree = Tree(tmp_path)
    name = tree.names[0]
    tree.state(name)
    assert tree.states()[name] == "waiting"
    process = holding(tree.results / "runs" / name / ".state" / "lock", "")
    assert tree.states()[name] == "running"
    process.kill()
    process.wait()
    assert tree.states()[name] == "waiting"


def test_asking_for_the_holder_leaves_the_lock_free(tmp_path, holding):
    """Neither asking about a free lock takes it, nor asking about a held one gives it up."""
    path = tmp_path / "lock"
    path.write_text("")
    assert lock_holder(path) is None
    process = holding(path, json.dumps(HOLDER))
    assert lock_holder(path).pid == lock_holder(path).pid == 123
    with open(path, "a") as handle, pytest.raises(BlockingIOError):
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert process.poll() is None


@pytest.mark.parametrize(
    "content", ["", "process 12 on vm\n", "[]", "{}", '{"pid": 1', json.dumps(HOLDER | {"pid": {}})]
)
def test_a_holder_who_says_nothing_known_is_unknown(tmp_path, holding, content):
    holding(tmp_path / "lock", content)
    holder = lock_holder(tmp_path / "lock")
    assert (holder.pid, holder.host, holder.device, holder.started) == (None,) * 4


def test_a_missing_lock_has_no_holder(tmp_path):
    (tmp_path / "file").write_text("")
    assert lock_holder(tmp_path / "none" / "lock") is None
    assert lock_holder(tmp_path / "file" / "lock") is None


def test_a_running_run_is_not_failed_by_its_log(tmp_path, holding):
    """A second Snakemake fails on the lock and writes so into the log that both share."""
    tree = Tree(tmp_path)
    name = tree.names[0]
    tree.fail("train_model", name, "the run is being trained by another process.")
    holding(tree.results / "runs" / name / ".state" / "lock", json.dumps(HOLDER))
    assert tree.states()[name] == "running"
    assert not tree.status().failures


def test_a_failed_test_is_a_failed_run(tmp_path):
    tree = Tree(tmp_path)
    name = tree.names[0]
    tree.train(name)
    log = tree.fail("test_model", name, "a checkpoint cannot be read.")
    failures = tree.status().failures
    assert tree.states()[name] == "failed"
    assert [(item.rule, item.log) for item in failures] == [("test_model", log)]
    tree.test(name)
    assert tree.states()[name] == "finished"


def test_a_test_older_than_the_training_does_not_count(tmp_path):
    tree = Tree(tmp_path)
    name = tree.names[0]
    tree.train(name)
    tree.test(name)
    path = tree.results / "runs" / name / "scores.h5"
    os.utime(path, (1, 1))
    assert tree.states()[name] == "trained"


def test_a_record_that_cannot_be_read_is_a_failure(tmp_path):
    tree = Tree(tmp_path)
    name = tree.names[0]
    tree.train(name)
    (tree.results / "runs" / name / "run.json").write_text("{")
    assert tree.states()[name] == "failed"
    assert "run.json" in tree.status().failures[0].sentence


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], None),
        (["INFO epoch 1"], None),
        (["ERROR it broke.\nTraceback (most recent call last):\n  File"], "it broke."),
        (["ERROR OSError: one\ntwo\nTraceback (most recent call last):"], "OSError: one two"),
        (["ERROR of a library", "INFO and on it went"], None),
        (["INFO epoch 1", "WARNING stopped; the training can go on"], None),
        (["INFO x" * 40_000, "ERROR it broke."], "it broke."),
    ],
)
def test_an_error_counts_where_a_log_ends_in_it(tmp_path, lines, sentence):
    log = Tree(tmp_path).log("train_model", "a", *lines)
    assert last_error(log) == sentence
    assert last_error(tmp_path / "none.log") is None


def test_failures_before_and_after_the_runs(tmp_path):
    """2 perturbations x 2 repeats: data block 4 runs, a calibration 2, labels 1, a figure none."""
    tree = Tree(tmp_path)
    tree.fail("prepare_dataset", "tiny", "no data.")
    tree.fail("calibrate_perturbation", "tiny/choppy-0.85", "no severity.")
    tree.fail("perturb_labels", "tiny/choppy-0.85/rep1", "no labels.")
    tree.fail("plot_roc", "tiny", "no figure.")
    tree.fail("plot_roc", "another", "not of this study.")
    tree.fail("summarise_runs", "../summarise_runs", "no table.")
    found = [(item.rule, item.name, item.blocked) for item in tree.status().failures]
    assert found == [
        ("prepare_dataset", "tiny", 4),
        ("calibrate_perturbation", "tiny/choppy-0.85", 2),
        ("perturb_labels", "tiny/choppy-0.85/rep1", 1),
        ("summarise_runs", "", 0),
        ("plot_roc", "tiny", 0),
    ]
    assert tree.status().count() == {"waiting": 4}
    for output in ("datasets/tiny.h5", "labels/tiny/choppy-0.85/rep1.h5"):
        path = tree.results / output
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert "no data." not in render_failures(tree.status())
    assert "no labels." not in render_failures(tree.status())
    assert "no severity." in render_failures(tree.status())


def test_makespan_by_hand():
    assert makespan([], [], 1) == 0
    assert makespan([], [10, 10, 10], 2) == 20
    assert makespan([4, 9], [10, 1], 2) == 14
    assert makespan([5], [3, 3], 3) == 5


def test_estimate_by_hand():
    """An epoch takes 2 s, a start 5 s, a test 3 s; two are at work at once.

    They have 4 and 8 epochs to go and end at 11 and 19 s. Then, in order: one that waits takes
    5 + 20 + 3 seconds, from 11 to 39; one with 6 epochs left 5 + 12 + 3, from 19 to 39;
    a test, to 42.
    """
    runs = [
        *make_runs("running", 1, epoch=6),
        *make_runs("running", 1, epoch=2),
        *make_runs("waiting", 1, epoch=9),
        *make_runs("waiting", 1, epoch=4, interrupted=True),
        *make_runs("trained", 1),
        *make_runs("failed", 5),
        *make_runs("finished", 7),
    ]
    rates = {("d", "m", "r"): Rate(2.0, 5.0, 3.0)}
    assert estimate(runs, rates) == Eta(42.0, 2, Counter())


def test_what_was_never_measured_is_unknown():
    other = ("d", "m", "other")
    runs = [*make_runs("waiting", 2), *make_runs("waiting", 3, cell=other)]
    assert estimate(runs, {}) == Eta(None, 1, Counter({("d", "m", "r"): 2, other: 3}))
    assert estimate(runs, {other: Rate(1.0)}) == Eta(30.0, 1, Counter({("d", "m", "r"): 2}))


def test_an_eta_says_what_it_leaves_out(tmp_path):
    """A trained run of 10 epochs in 20 s, so 20 s for the one that waits; 3 have no measure."""
    runs = [
        *make_runs("finished", 1, seconds=20.0),
        *make_runs("waiting", 1),
        *make_runs("waiting", 3, cell=("d", "m", "other")),
        *make_runs("failed", 1),
    ]
    text = render(Status(tmp_path, runs), NOW)
    assert "ETA: unknown, since no epoch has been measured yet for 3 runs\n(d/m/other)." in text
    assert "The others take 20 s, one at a time; none is being trained now." in text
    assert "Failed runs are left out." in text


def test_rates_come_from_trained_runs(tmp_path):
    """Two trained runs of 2 epochs: 10 and 14 s make 6 s an epoch; jobs take 3 and 5 s longer."""
    tree = Tree(tmp_path)
    first, second, *_ = tree.names
    tree.train(first, seconds=10.0, job=13.0)
    tree.test(first, job=2.0)
    tree.train(second, seconds=14.0, job=19.0)
    status = tree.status()
    assert measure(status.runs, tree.results) == {("tiny", "small", "short"): Rate(6.0, 4.0, 2.0)}
    # The test of the second, 2 s, then two runs of 4 + 12 + 2 s, one at a time.
    assert estimate(status.runs, measure(status.runs, tree.results)).seconds == 38.0
    assert "ETA: the rest takes 38 s, one at a time" in render(status, NOW)


def test_a_sitting_shorter_than_the_training_is_no_start(tmp_path):
    tree = Tree(tmp_path)
    tree.train(tree.names[0], seconds=10.0, job=7.0)
    rates = measure(tree.status().runs, tree.results)
    assert rates == {("tiny", "small", "short"): Rate(5.0)}


def test_rates_come_from_running_logs_where_none_is_trained(tmp_path, holding):
    """Epochs of 1, 2 and 3 s: 2 s an epoch. One epoch is left of one run, none of the other."""
    tree = Tree(tmp_path)
    first, second, *_ = tree.names
    tree.epochs(first, 1.0)
    tree.epochs(second, 2.0, 3.0)
    for name in (first, second):
        holding(tree.results / "runs" / name / ".state" / "lock", json.dumps(HOLDER))
    status = tree.status()
    assert measure(status.runs, tree.results) == {("tiny", "small", "short"): Rate(2.0)}
    # Two wait, 4 s each: from 0 to 4 and from 2 to 6.
    assert estimate(status.runs, measure(status.runs, tree.results)) == Eta(6.0, 2, Counter())
    assert re.search("ETA: the rest takes 6 s, .* with 2 at once as now", render(status, NOW))


def test_a_resumed_run_tells_its_epoch_before_it_has_trained_one(tmp_path):
    tree = Tree(tmp_path)
    tree.state(tree.names[0])
    tree.log("train_model", tree.names[0], "INFO going on after epoch 1 of 2")
    assert tree.status().runs[0].epoch == 1


def test_no_line_is_wider_than_100_columns(tmp_path, holding):
    """But for what cannot be broken: the name of a log."""
    tree = Tree(tmp_path, perturbation=["control", "choppy-0.85"], repeats=40)
    first, second, *others = tree.names
    holding(tree.results / "runs" / first / ".state" / "lock", json.dumps(HOLDER))
    tree.fail("train_model", second, "it broke in a way that takes many words to tell, " * 5)
    for name in others:
        tree.train(name, recipe={"epochs": 9})
    text = render(tree.status(), NOW).replace(str(tree.results), "results")
    assert "it broke" in text and "outdated" in text and "node7" in text
    assert max(map(len, text.splitlines())) <= 100


def test_an_empty_study_waits(tmp_path):
    tree = Tree(tmp_path)
    text = render(tree.status(), NOW)
    assert "4 runs in" in text and "4 waiting" in text and "ETA: unknown" in text
    assert render_failures(tree.status()) == "Nothing has failed."


def test_a_finished_study_has_no_eta(tmp_path):
    tree = Tree(tmp_path)
    for name in tree.names:
        tree.train(name)
        tree.test(name)
    assert "no run is left" in render(tree.status(), NOW)


def test_many_failures_are_cut_unless_asked_for(tmp_path):
    tree = Tree(tmp_path, repeats=12)
    for name in tree.names:
        tree.fail("train_model", name)
    assert render(tree.status(), NOW).count(SENTENCE) == 10
    assert "and 14 more" in render(tree.status(), NOW)
    assert render_failures(tree.status()).count(SENTENCE) == 24


def test_the_default_matrix_fits_100_columns_and_a_wide_one_is_parted():
    config = load_config(ROOT / "config.yaml")
    runs = [
        Run(*(names[key] for key in ("dataset", "model", "recipe", "perturbation", "repeat")),
            "finished", 1)
        for names in expand_runs(config)
    ]  # fmt: skip
    lines = table(runs).splitlines()
    assert max(map(len, lines)) <= 100
    # Two lines of titles, a row for each of 2 x 3 x 2, and the totals.
    assert len(lines) == 2 + 12 + 1
    assert lines[-1].split() == ["all", *["36"] * 10, "360/360"]
    parted = table(runs, width=60)
    assert max(map(len, parted.splitlines())) <= 60
    # No number is lost or shown twice.
    totals = [line.split()[1:] for line in parted.splitlines() if line.startswith("all")]
    assert [text for total in totals for text in total] == lines[-1].split()[1:]


def test_texts_by_hand():
    assert cell_text(Counter(finished=2, running=1, failed=3, waiting=1)) == "2>!3"
    assert cell_text(Counter(finished=2, waiting=5), whole=True) == "2/7"
    seconds = [4, 61, 3600 + 5 * 60, timedelta(days=2, hours=4).total_seconds()]
    assert list(map(duration, seconds)) == ["4 s", "1 min", "1 h 05 min", "2 days 4 h"]


def test_mistakes_end_in_one_sentence(tmp_path):
    unknown = status_command(tmp_path, "--configfile", "studies/nowhere.yaml")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("error: there is no config file studies/nowhere.yaml")
    (tmp_path / "wrong.yaml").write_text("matrix: {dataset: [nowhere]}")
    wrong = status_command(tmp_path, "--configfile", "wrong.yaml")
    assert wrong.returncode == 1
    assert "matrix.dataset" in wrong.stderr
    assert unknown.stderr.count("\n") == wrong.stderr.count("\n") == 1
    assert unknown.stdout == wrong.stdout == ""


def test_the_command_loads_no_heavy_package():
    """It must answer at once, so torch, pandas and snakemake stay out."""
    code = (
        "import sys; sys.path.insert(0, 'scripts'); import status; status.main([])\n"
        "print(sorted({'torch', 'pandas', 'scipy', 'snakemake'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert answer.stdout.splitlines()[-1] == "[]"


def test_a_real_study_in_a_folder_of_its_own(tmp_path):
    """Of 2 repeats of one control, one is run by Snakemake, into the folder its config names."""
    matrix = TINY["matrix"] | {"perturbation": ["control"]}
    study = TINY | {"matrix": matrix, "pathvars": {"results": "elsewhere"}}
    target = "elsewhere/runs/tiny/small/short/control/rep0/test.csv"
    done = snakemake(tmp_path, study, target)
    assert done.returncode == 0, done.stderr
    said = re.findall(r"^tested tiny/small/short/control/rep0: test Dice (.*)$", done.stdout, re.M)
    assert len(said) == 1 and 0 <= float(said[0].split()[-1]) <= 1
    answer = status_command(tmp_path, "--configfile", "study.yaml")
    assert answer.returncode == 0, answer.stderr
    assert "2 runs in elsewhere: 1 finished, 1 waiting" in answer.stdout
    assert "one at a time; none is being trained now" in answer.stdout
    assert not list(Path(tmp_path, "elsewhere").glob("**/.state"))
