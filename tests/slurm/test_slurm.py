"""A tiny study on a real Slurm of one node with four pretended GPUs: `make test-slurm`.

The pretended GPUs have no driver, so the runs compute on the CPU; which GPU Slurm gave each of them
is known all the same.
"""

import copy
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pandas as pd
import pytest

from labelnoise.jobs.locks import hold
from labelnoise.study import Results, Run
from workflow_runs import ROOT, TINY, command, job_counts

pytestmark = pytest.mark.slurm

SETUP = Path(os.environ.get("SLURM_SETUP", ROOT.parent / "shared" / "slurm"))
TARGET = "results/tables/degradation.csv"
GPUS = 4
# Six trainings, long enough to be interrupted.
STUDY = copy.deepcopy(TINY)
STUDY["recipes"]["short"]["epochs"] = 120
STUDY["matrix"]["repeats"] = 3
# As profiles/cpu, which makes the twin: numbers are equal for equal threads.
THREADS = ("--set-threads", "train_model=1", "test_model=1")
# What suits one node, but not a cluster.
QUICK = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10")
DEADLINE = 15 * 60


@pytest.fixture(scope="module")
def slurm():
    """Start a Slurm and give the environment of its users; stop it in the end."""
    start, stop = SETUP / "start-slurm.sh", SETUP / "stop-slurm.sh"
    if not start.exists():
        pytest.skip(f"no Slurm is tested: {start} is absent (SLURM_SETUP names another folder)")
    # A short path: munge's socket lies in it.
    state = Path(tempfile.mkdtemp(prefix="slurm-"))
    # As Ctrl-C, so that the cluster is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        settings = {"CTLD_PORT": free_port(), "SLURMD_PORT": free_port(), "GPUS": GPUS}
        environment = {**os.environ, **{name: str(value) for name, value in settings.items()}}
        # Through a file: the daemons would keep a pipe open.
        with open(state / "start.log", "w") as log:
            started = subprocess.run(
                [start, state], env=environment, stdout=log, stderr=log, check=False
            )
        said = (state / "start.log").read_text()
        if started.returncode and re.search("not root|apt-get failed", said):
            pytest.skip(f"no Slurm is tested: its packages cannot be installed: {said.strip()}")
        assert started.returncode == 0, said
        yield {
            **os.environ,
            "SLURM_CONF": str(state / "slurm.conf"),
            "PATH": f"{state / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }
    finally:
        subprocess.run([stop, state], stdout=subprocess.DEVNULL, check=False)
        shutil.rmtree(state)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(arguments, folder, environment=None):
    """Start a program in a session of its own, with its output in a log of the folder."""
    with open(folder / "output.log", "w") as log:
        return subprocess.Popen(
            arguments, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )


def start_on_slurm(folder, environment, study=STUDY, targets=(TARGET,)):
    """Start the study with profiles/slurm, as `command` does with profiles/cpu."""
    arguments = list(map(str, command(folder, study, *targets, *THREADS, *QUICK)))
    cores = arguments.index("--cores")
    del arguments[cores : cores + 2]
    profile = arguments.index(str(ROOT / "profiles" / "cpu"))
    arguments[profile] = str(ROOT / "profiles" / "slurm")
    return start(arguments, folder, environment)


class Watch:
    """Looks at Slurm while the study runs.

    Attributes:
        cards: the running jobs' pretended GPUs at each look, {job: number}.
        submitted: {job: comment} of all that was seen.
    """

    def __init__(self, folder, environment):
        self.folder, self.environment = folder, environment
        self.cards, self.submitted = [], {}

    def ask(self, *arguments):
        """Run a program of Slurm's and give what it says."""
        return subprocess.run(
            arguments, env=self.environment, capture_output=True, text=True, check=True
        ).stdout

    def look(self):
        """Note what runs; give the jobs that train, {job: run folder}."""
        running = {}
        for line in self.ask("squeue", "-h", "-t", "all", "-o", "%i|%T|%k").splitlines():
            job, state, comment = line.split("|")
            self.submitted[job] = comment
            if state == "RUNNING":
                running[job] = comment
        held = {}
        for job in self.ask("scontrol", "-d", "-o", "show", "job").splitlines():
            number = re.search(r"JobId=(\d+)", job)
            card = re.search(r"GRES=gpu:\d\(IDX:(\d)\)", job)
            # Cards of a job that has ended are listed as well.
            if card and number[1] in running and "JobState=RUNNING" in job:
                held[number[1]] = int(card[1])
        self.cards.append(held)
        return {
            job: self.run_folder(comment) for job, comment in running.items() if "train" in comment
        }

    def run_folder(self, comment):
        """The run folder that a comment of the plugin's stands for."""
        names = comment.removeprefix("rule_train_model_wildcards_").split("_")
        return self.folder.joinpath("results/runs", *names[:-1], f"rep{names[-1]}")

    def until(self, condition, process):
        """Look until the condition on the jobs that train holds; give them."""
        deadline = time.monotonic() + DEADLINE
        while True:
            training = self.look()
            if condition(training):
                return training
            assert process.poll() is None, (self.folder / "output.log").read_text()
            assert time.monotonic() < deadline, self.ask("squeue")
            time.sleep(0.5)

    def details(self, job):
        return self.ask("scontrol", "show", "job", job)


def under_way(training):
    """Jobs that have trained an epoch."""
    return [job for job, folder in training.items() if (folder / ".state/state.pt").exists()]


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """The study, made without Slurm."""
    folder = tmp_path_factory.mktemp("local")
    process = start(command(folder, STUDY, TARGET), folder)
    try:
        process.wait(DEADLINE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, (folder / "output.log").read_text()
    return folder


@pytest.fixture(scope="module")
def watched(slurm, twin, tmp_path_factory):
    """The study on Slurm, preempted and cancelled on the way."""
    folder = tmp_path_factory.mktemp("slurm")
    process = start_on_slurm(folder, slurm)
    watch = Watch(folder, slurm)
    try:
        training = watch.until(lambda jobs: len(under_way(jobs)) == GPUS, process)
        watch.listed = subprocess.run(
            ["make", "-s", "-f", ROOT / "Makefile", "jobs"],
            **{"cwd": folder, "env": slurm, "capture_output": True, "text": True, "check": True},
        ).stdout
        watch.preempted = list(training)
        high = ("sbatch", "--parsable", "-p", "high", "-n1", f"--gpus={GPUS}", "-o", "/dev/null")
        watch.ask(*high, "--wrap", "sleep 1")
        watch.until(lambda jobs: not jobs, process)
        training = watch.until(under_way, process)
        watch.cancelled = under_way(training)[0]
        watch.cancelled_run = training[watch.cancelled]
        watch.ask("scancel", watch.cancelled)
        watch.until(lambda jobs: process.poll() is not None, process)
        watch.restarts = {
            job: int(re.search(r"Restarts=(\d+)", watch.details(job))[1]) for job in watch.preempted
        }
        watch.log, watch.twin = (folder / "output.log").read_text(), twin
        assert process.returncode == 0, watch.log
        yield watch
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def records(watch):
    return {
        path.parent: json.loads(path.read_text()) for path in watch.folder.rglob("runs/**/run.json")
    }


def test_four_run_at_once_on_four_cards(watched):
    most = max(watched.cards, key=len)
    assert len(most) == GPUS
    for held in watched.cards:
        assert len(set(held.values())) == len(held)
    assert {card for held in watched.cards for card in held.values()} == set(range(GPUS))


def test_a_run_knows_the_card_that_slurm_gave_it(watched):
    runs = records(watched)
    assert len(runs) == 6
    for record in runs.values():
        job = record["scheduler"]["SLURM_JOB_ID"]
        last = [held[job] for held in watched.cards if job in held][-1]
        assert record["scheduler"]["CUDA_VISIBLE_DEVICES"] == str(last)


def test_a_preempted_job_is_started_again_by_slurm_and_goes_on(watched):
    assert watched.restarts == dict.fromkeys(watched.preempted, 1)
    finished = {run["scheduler"]["SLURM_JOB_ID"]: run for run in records(watched).values()}
    kept = [job for job in watched.preempted if job != watched.cancelled]
    assert len(kept) >= GPUS - 1
    for job in kept:
        assert finished[job]["interruptions"][0]["after_epoch"] >= 1


def test_a_cancelled_job_is_submitted_again_and_goes_on(watched):
    assert f"SLURM-job '{watched.cancelled}' failed, SLURM status is: 'CANCELLED'" in watched.log
    comment = watched.submitted[watched.cancelled]
    again = [job for job, other in watched.submitted.items() if other == comment]
    assert len(again) == 2
    record = records(watched)[watched.cancelled_run]
    assert record["scheduler"]["SLURM_JOB_ID"] == again[1]
    assert record["interruptions"][-1]["after_epoch"] >= 1
    logs = watched.folder / "results/logs/slurm"
    assert list(logs.rglob(f"{watched.cancelled}.log"))


def test_tables_are_those_of_a_local_run(watched):
    def read(folder):
        return (folder / TARGET).read_bytes()

    assert read(watched.folder) == read(watched.twin)
    ours, theirs = (
        pd.read_csv(folder / "results/tables/runs.csv").select_dtypes("number")
        for folder in (watched.folder, watched.twin)
    )
    told_apart = ["seconds", "interruptions"]
    ours, theirs = (table.drop(columns=told_apart, errors="ignore") for table in (ours, theirs))
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    for history in watched.folder.rglob("history.csv"):
        twin = watched.twin / history.relative_to(watched.folder)
        assert history.read_bytes() == twin.read_bytes()


def test_labels_take_one_job_an_error(watched):
    labels = [comment for comment in watched.submitted.values() if "perturb_labels" in comment]
    assert len(labels) == 2


def test_jobs_are_listed_under_names_for_people(watched):
    names = [line.split()[-1] for line in watched.listed.splitlines()]
    running = {
        f"train-tiny-small-short-{name}-r{i}"
        for name in ("control", "choppy-0.85")
        for i in range(3)
    }
    assert len(names) >= GPUS
    assert set(names) <= running


def test_a_bundle_that_hits_its_time_limit_goes_on_with_the_runs_it_lacks(slurm, twin, tmp_path):
    # Its data and labels are made already, its runs are not.
    folder = shutil.copytree(twin, tmp_path / "study")
    for name in ("runs", "benchmarks", "tables"):
        shutil.rmtree(folder / "results" / name)
    # Two runs at a time on a card, one of which waits for us until the time is over.
    study = STUDY | {"runs_per_gpu": 2}
    held = Results(folder / "results").run_folder(Run("tiny", "small", "short", "choppy-0.85", 2))
    lock = hold(held.lock, "a run")
    limit = ("--set-resources", "run_bundle:runtime=1 if attempt == 1 else 20")
    process = start_on_slurm(folder, slurm, study, ("bundles", *limit))
    watch = Watch(folder, slurm)

    def bundles():
        return [job for job, comment in watch.submitted.items() if "run_bundle" in comment]

    try:
        watch.until(lambda jobs: len(bundles()) == 2, process)
        first, second = bundles()
        assert "JobState=TIMEOUT" in watch.details(first)
        done = {path: path.stat().st_mtime_ns for path in folder.rglob("runs/**/test.csv")}
        assert done and not held.record.exists()
        lock.release()
        watch.until(lambda jobs: process.poll() is not None, process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, (folder / "output.log").read_text()
    assert bundles() == [first, second]
    for path, written in done.items():
        assert path.stat().st_mtime_ns == written
    jobs = {
        folder: record["scheduler"]["SLURM_JOB_ID"] for folder, record in records(watch).items()
    }
    assert len(jobs) == 6 and set(jobs.values()) == {first, second}
    assert all(jobs[path.parent] == first for path in done)
    for name in ("history.csv", "test.csv"):
        for path in folder.rglob(f"runs/**/{name}"):
            assert path.read_bytes() == (twin / path.relative_to(folder)).read_bytes()
    rows = folder.rglob("benchmarks/train_model/**/*.jsonl")
    assert len([*rows]) == 6
    rest = command(folder, study, TARGET, "--dry-run", "--quiet", "rules")
    found = subprocess.run(rest, cwd=folder, capture_output=True, text=True, check=True)
    assert job_counts(found) == {"summarise_runs": 1, "total": 1}
