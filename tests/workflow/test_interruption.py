"""A study that is interrupted again and again ends as one that was left alone."""

import json
import os
import random
import shutil
import signal
import subprocess
import time

import h5py
import pandas as pd
import pytest
import torch

from labelnoise.jobs.locks import holder_of
from workflow_runs import changed, command, snakemake

# The shared study's first repeat, so that its runs need not be made once more for the twin.
STUDY = changed(matrix={"repeats": 1})
TARGETS = ("results/tables/degradation.md", "results/figures/runs.png")
# What is under way when a signal comes: a rule, from its job's log on, or the epochs of a training.
# A kill of "all" is a power cut; one of "snakemake" leaves its job as an orphan. A terminal, or the
# end of a session, reaches all processes as well.
MOMENTS = (
    ("prepare_dataset", "all", signal.SIGKILL),
    ("calibrate_perturbation", "snakemake", signal.SIGKILL),
    ("perturb_labels", "all", signal.SIGKILL),
    ("epochs", "snakemake", signal.SIGKILL),
    ("train_model", "all", signal.SIGKILL),
    ("epochs", "all", signal.SIGINT),
    ("epochs", "snakemake", signal.SIGKILL),
    ("epochs", "all", signal.SIGTERM),
    ("epochs", "all", signal.SIGKILL),
    ("test_model", "snakemake", signal.SIGKILL),
    ("summarise_runs", "all", signal.SIGKILL),
    ("plot_runs", "snakemake", signal.SIGKILL),
)
# Seconds into which a signal falls; epochs are short.
LONGEST = {"epochs": 0.1}


@pytest.fixture(scope="module")
def twin(whole_study, tmp_path_factory):
    """The results of STUDY without an interruption, and no others."""
    folder = shutil.copytree(whole_study, tmp_path_factory.mktemp("twin") / "study")
    results = folder / "results"
    others = [results / name for name in ("tables", "figures", "ceiling")]
    for path in [*results.rglob("rep1*"), *others]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = snakemake(folder, STUDY, *TARGETS)
    assert done.returncode == 0, done.stdout + done.stderr
    return results


def start(folder):
    """Start Snakemake in a session of its own, so that a signal can reach all of its processes."""
    return subprocess.Popen(
        # One training at a time, since each Snakemake that is interrupted imports torch again.
        command(folder, STUDY, *TARGETS, cores=1),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever starts the tests in the background of a script has SIGINT ignored, which children
        # inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(folder, moment, process):
    """Wait until a job of that rule, or a training, writes; False where Snakemake ends before."""
    results = folder / "results"

    def newest():
        if moment == "epochs":
            written = [*results.glob("runs/**/.state/state.pt")]
        else:
            logs = results / "logs"
            written = [*logs.glob(f"{moment}.log"), *logs.glob(f"{moment}/**/*.log")]
        return max((path.stat().st_mtime_ns for path in written), default=0)

    before = newest()
    while process.poll() is None:
        if newest() > before:
            return True
        time.sleep(0.01)
    return False


def interrupt(process, whom, number):
    """Send the signal and wait for the end of Snakemake."""
    if whom == "all":
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    process.communicate(timeout=300)
    assert process.returncode != 0


def assert_whole(results, twin):
    """Every file under a final name is whole: it can be read, and says what the twin's says."""
    for path in results.rglob("*"):
        relative = path.relative_to(results)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.is_dir() or hidden or relative.parts[0] in ("logs", "benchmarks"):
            continue
        if "tensorboard" in relative.parts:
            continue
        other = twin / relative
        if path.name in ("run.json", "timing.csv", "runs.csv"):
            # What tells of clocks and interruptions.
            read = json.loads if path.suffix == ".json" else str.splitlines
            assert len(read(path.read_text())) == len(read(other.read_text())), relative
        elif path.suffix == ".pt":
            one, same = (torch.load(each, weights_only=True)["state"] for each in (path, other))
            assert all(torch.equal(one[name], same[name]) for name in one | same), relative
        else:
            assert path.read_bytes() == other.read_bytes(), relative
            if path.suffix == ".h5":
                h5py.File(path).close()


def assert_same(results, twin):
    """Both studies have the same files, and the same runs table but for the clock."""

    def names(folder):
        """Names of all files but those that tell of processes and of jobs that only one had."""
        found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        left_out = {"logs", "benchmarks", "tensorboard"}
        return {str(path) for path in found if not left_out & {*path.parts}}

    assert_whole(results, twin)
    assert names(results) == names(twin)
    one, same = (
        pd.read_csv(folder / "tables/runs.csv").drop(columns="seconds")
        for folder in (results, twin)
    )
    pd.testing.assert_frame_equal(one, same)


def test_ten_kills_ctrl_c_and_a_shutdown_change_nothing(twin, tmp_path):
    chance, interrupted, results = random.Random(2018), [], tmp_path / "results"
    for moment, whom, number in MOMENTS:
        process = start(tmp_path)
        if not wait_for(tmp_path, moment, process):
            assert process.returncode == 0, process.communicate()[1]
            continue
        assert holder_of(results / ".lock").pid == process.pid
        time.sleep(chance.uniform(0, LONGEST.get(moment, 0.4)))
        if process.poll() is None:
            interrupt(process, whom, number)
            interrupted.append((moment, number))
        assert_whole(results, twin)
    # Orphans may finish the last steps before a signal can meet them.
    assert len(interrupted) >= 10, interrupted
    done = snakemake(tmp_path, STUDY, *TARGETS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same(results, twin)
    records = [json.loads(path.read_text()) for path in results.rglob("run.json")]
    sittings = [sitting for record in records for sitting in record["interruptions"]]
    assert any(sitting["after_epoch"] > 0 for sitting in sittings), "no training went on"
