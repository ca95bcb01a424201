"""Status of studies whose runs were put into known states by hand."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from labelnoise.jobs.eta import Eta, Rate, estimate, makespan, measure
from labelnoise.jobs.status_page import cell_text, duration, render, render_failures, table
from labelnoise.jobs.study_status import Progress, RunStatus, StudyStatus, look_at
from labelnoise.study import Results, Run, RunFolder, read_study
from workflow_runs import ROOT, TINY, snakemake

NOW = datetime(2026, 11, 22, 21, 30, tzinfo=UTC)
HOLDER = {
    "pid": 123,
    "host": "node7",
    "device": "NVIDIA H100 GPU-0123abcd-4567-89ab-cdef-0123456789ab",
    "started": "2026-11-22T21:00:00+00:00",
}
SENTENCE = "the loss became nan in epoch 3, step 2; lower the learning_rate (0.01)."
SETTING = ("tiny", "small", "short")
# A process that locks a file as a training does, until its input ends.
HOLD = """
import fcntl, sys
handle = open(sys.argv[1], "a+")
fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
handle.truncate(0)
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
        self.results = Results(folder / "results")
        self.study = replace(read_study(ROOT / "config.yaml", overlay), results=self.results)
        self.runs = self.study.runs

    def status(self):
        return look_at(self.study)

    def states(self):
        return {each.run: each.state for each in self.status().runs}

    def measure(self):
        return measure(self.status().runs, self.results)

    def folder(self, run) -> RunFolder:
        return self.results.run_folder(run)

    def log(self, rule, name, *lines):
        path = self.results.root / "logs" / rule / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"2026-11-22 21:00:00 {line}\n" for line in lines))
        return path

    def fail(self, rule, name, sentence=SENTENCE):
        trace = "Traceback (most recent call last):\n  File 'x', line 1\nInputError: it"
        return self.log(rule, name, "INFO device: CPU", f"ERROR {sentence}\n{trace}")

    def begin(self, run, epoch, seconds=0.0, epochs=2):
        """Leave what a training leaves that goes on from an epoch."""
        folder = self.folder(run)
        folder.state.mkdir(parents=True, exist_ok=True)
        folder.lock.write_text(json.dumps(HOLDER))
        said = {"epoch": epoch, "epochs": epochs, "seconds": seconds}
        folder.progress.write_text(json.dumps(said))

    def train(self, run, seconds=10.0, job=None, code="4d5e6f", **recipe):
        """Leave what a training leaves; `job`: seconds that Snakemake measured."""
        definitions = {
            "model": self.study.models[run.model].as_dict(),
            "recipe": self.study.recipes[run.recipe].as_dict() | recipe,
        }
        folder = self.folder(run)
        folder.path.mkdir(parents=True, exist_ok=True)
        record = {"seconds": seconds, "definitions": definitions, "code": code}
        folder.record.write_text(json.dumps(record))
        self.benchmark("train_model", run, job)

    def test(self, run, job=None):
        folder = self.folder(run)
        for path in (folder.counts, folder.scores):
            path.write_text("x")
        self.benchmark("test_model", run, job)

    def benchmark(self, rule, run, seconds):
        if seconds is not None:
            path = self.results.root / "benchmarks" / rule / f"{run.name}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"s": seconds, "h:m:s": "0"}) + "\n")


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


def make_runs(state, number, setting=("d", "m", "r"), epoch=None, **details):
    """Runs of 10 epochs in a state."""
    progress = None if epoch is None else Progress(epoch, 10, 2.0 * epoch)
    runs = [Run(*setting, "control", index) for index in range(number)]
    return [RunStatus(run, state, 10, progress, **details) for run in runs]


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
        path = tree.results.root / output
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
        *make_runs("waiting", 1),
        *make_runs("stopped", 1, epoch=4),
        *make_runs("trained", 1),
        *make_runs("failed", 5),
        *make_runs("finished", 7),
    ]
    rates = {("d", "m", "r"): Rate(2.0, 5.0, 3.0)}
    assert estimate(runs, rates) == Eta(42.0, 2, Counter())


def test_an_outdated_run_starts_over():
    assert estimate(make_runs("outdated", 1), {("d", "m", "r"): Rate(2.0)}).seconds == 20.0


def test_what_was_never_measured_is_unknown():
    other = ("d", "m", "other")
    runs = [*make_runs("waiting", 2), *make_runs("waiting", 3, setting=other)]
    assert estimate(runs, {}) == Eta(None, 1, Counter({("d", "m", "r"): 2, other: 3}))
    assert estimate(runs, {other: Rate(1.0)}) == Eta(30.0, 1, Counter({("d", "m", "r"): 2}))


def test_an_eta_says_what_it_leaves_out(tmp_path):
    """A trained run of 10 epochs in 20 s, so 20 s for the one that waits; 3 have no measure."""
    runs = [
        *make_runs("finished", 1, seconds=20.0),
        *make_runs("waiting", 1),
        *make_runs("waiting", 3, setting=("d", "m", "other")),
        *make_runs("failed", 1),
    ]
    text = render(StudyStatus(Results(tmp_path), runs), NOW)
    assert "ETA: unknown, since no epoch has been measured yet for 3 runs\n(d/m/other)." in text
    assert "The others take 20 s, one at a time; none is being trained now." in text
    assert "Failed runs are left out." in text


def test_rates_come_from_trained_runs(tmp_path):
    """Two trained runs of 2 epochs: 10 and 14 s make 6 s an epoch; jobs take 3 and 5 s longer."""
    tree = Tree(tmp_path)
    first, second, third, _ = tree.runs
    tree.train(first, seconds=10.0, job=13.0)
    tree.test(first, job=2.0)
    tree.train(second, seconds=14.0, job=19.0)
    # Epochs of unfinished runs count only where there is nothing better.
    tree.begin(third, 0, 100.0)
    assert tree.measure() == {SETTING: Rate(6.0, 4.0, 2.0)}
    # The test of the second, 2 s, then two runs of 4 + 12 + 2 s, one at a time.
    assert estimate(tree.status().runs, tree.measure()).seconds == 38.0
    assert "ETA: the rest takes 38 s, one at a time" in render(tree.status(), NOW)


def test_a_sitting_shorter_than_the_training_is_no_start(tmp_path):
    tree = Tree(tmp_path)
    tree.train(tree.runs[0], seconds=10.0, job=7.0)
    assert tree.measure() == {SETTING: Rate(5.0)}


def test_rates_come_from_unfinished_runs_where_none_is_trained(tmp_path, holding):
    """3 epochs in 6 s: 2 s per epoch. One epoch is left of one run, none of the other."""
    tree = Tree(tmp_path)
    first, second, *_ = tree.runs
    tree.begin(first, 1, 1.0)
    tree.begin(second, 2, 5.0)
    for run in (first, second):
        holding(tree.folder(run).lock, json.dumps(HOLDER))
    assert tree.measure() == {SETTING: Rate(2.0)}
    # Two wait, 4 s each: from 0 to 4 and from 2 to 6.
    assert estimate(tree.status().runs, tree.measure()) == Eta(6.0, 2, Counter())
    text = render(tree.status(), NOW)
    assert re.search("ETA: the rest takes 6 s, .* with 2 at once as now", text)


def test_no_line_is_wider_than_100_columns(tmp_path, holding):
    """But for what cannot be broken: the name of a log."""
    tree = Tree(tmp_path, perturbation=["control", "choppy-0.85"], repeats=40)
    first, second, third, *others = tree.runs
    holding(tree.folder(first).lock, json.dumps(HOLDER))
    tree.fail("train_model", second.name, "it broke in a way that takes many words to tell, " * 5)
    tree.begin(third, 1)
    for run in others:
        tree.train(run, epochs=9, keep=7, batch_size=30, learning_rate=0.012345)
    text = render(tree.status(), NOW).replace(str(tree.results.root), "results")
    assert "it broke" in text and "outdated" in text and "node7" in text and "Stopped" in text
    assert max(map(len, text.splitlines())) <= 100


def test_an_empty_study_waits(tmp_path):
    tree = Tree(tmp_path)
    text = render(tree.status(), NOW)
    assert "4 runs in" in text and "4 waiting" in text and "ETA: unknown" in text
    assert render_failures(tree.status()) == "Nothing has failed."


def test_a_finished_study_has_no_eta(tmp_path):
    tree = Tree(tmp_path)
    for run in tree.runs:
        tree.train(run)
        tree.test(run)
    text = render(tree.status(), NOW)
    assert "no run is left" in text and "Mixed" not in text and "snakemake" not in text


def test_many_failures_are_cut_unless_asked_for(tmp_path):
    tree = Tree(tmp_path, repeats=12)
    for run in tree.runs[:12]:
        tree.fail("train_model", run.name)
    for run in tree.runs[12:]:
        tree.begin(run, 1)
    text, failures = render(tree.status(), NOW), render_failures(tree.status())
    assert text.count(SENTENCE) == text.count(": after epoch 1 of 2") == 10
    assert "and 2 more, which --failed shows" in text
    assert failures.count(SENTENCE) == failures.count(": after epoch 1 of 2") == 12


def test_the_default_matrix_fits_100_columns_and_a_wide_one_is_parted():
    study = read_study(ROOT / "config.yaml")
    runs = [RunStatus(run, "finished", 1) for run in study.runs]
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
    assert "No snakemake is making them now." in answer.stdout
    assert not list((tmp_path / "elsewhere").glob("**/.state"))
