"""A study whose processes are killed again and again ends as one that was left alone."""

import json
import os
import random
import re
import signal
import subprocess
import time

import h5py
import pandas as pd
import pytest
import torch

from workflow_runs import TINY, command, snakemake

# What is under way when Snakemake is killed: the first log of a rule that is written from then on.
MOMENTS = (
    *("prepare_dataset", "calibrate_perturbation", "perturb_labels"),
    *("train_model", "train_model", "train_model", "train_model"),
    *("test_model", "summarise_runs", "plot_runs"),
)
# Seconds into which the kills fall: a training imports torch, then takes its epochs.
LONGEST = {"train_model": 3.0}


@pytest.fixture(scope="module")
def twin(whole_study):
    return whole_study[0] / "results"


def start(folder):
    """Start Snakemake in a session of its own, so that a kill can reach all of its processes."""
    return subprocess.Popen(
        command(folder, TINY),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever starts the tests in the background of a script has SIGINT ignored, which children
        # inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(folder, rule, process):
    """Wait until a job of the rule writes its log; False where Snakemake ends before."""

    def newest():
        logs = folder.glob(f"results/logs/{rule}*/**/*.log")
        logs = [*logs, *folder.glob(f"results/logs/{rule}.log")]
        return max((path.stat().st_mtime_ns for path in logs), default=0)

    before = newest()
    while process.poll() is None:
        if newest() > before:
            return True
        time.sleep(0.01)
    return False


def kill(process, everything):
    """Kill Snakemake with all of its jobs, as a power cut does, or alone, which leaves orphans."""
    if everything:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()


def assert_whole(results, twin):
    """Every file under a final name is whole: it can be read, and says what the twin's says."""
    for path in results.rglob("*"):
        relative = path.relative_to(results)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.is_dir() or hidden or relative.parts[0] in ("logs", "benchmarks"):
            continue
        if path.suffix in (".pdf", ".png", ".tex", ".md") or "tensorboard" in relative.parts:
            continue
        other = twin / relative
        if path.name in ("run.json", "timing.csv", "runs.csv"):
            # What tells of clocks and interruptions.
            read = json.loads if path.suffix == ".json" else lambda text: text.splitlines()
            assert len(read(path.read_text())) == len(read(other.read_text())), relative
        elif path.suffix == ".pt":
            one, same = (torch.load(each, weights_only=True)["state"] for each in (path, other))
            assert all(torch.equal(one[name], same[name]) for name in one | same), relative
        else:
            assert path.read_bytes() == other.read_bytes(), relative
            if path.suffix == ".h5":
                h5py.File(path).close()


def test_ten_kills_change_nothing(twin, tmp_path):
    chance, killed = random.Random(2018), []
    for number, rule in enumerate(MOMENTS):
        process = start(tmp_path)
        if not wait_for(tmp_path, rule, process):
            assert process.returncode == 0, process.communicate()[1]
            continue
        time.sleep(chance.uniform(0, LONGEST.get(rule, 0.4)))
        kill(process, everything=number % 2)
        killed.append(rule)
        assert_whole(tmp_path / "results", twin)
    # Orphans may finish the last steps before a kill can meet them.
    assert len(killed) >= 8, killed
    done = snakemake(tmp_path, TINY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_whole(tmp_path / "results", twin)
    assert_same_results(tmp_path / "results", twin)


def test_ctrl_c_and_a_shutdown_end_a_study_and_change_nothing(twin, tmp_path):
    for number in (signal.SIGINT, signal.SIGTERM):
        process = start(tmp_path)
        assert wait_for(tmp_path, "train_model", process)
        # A terminal, or the end of a session, reaches all processes at once.
        os.killpg(process.pid, number)
        process.communicate(timeout=300)
        assert process.returncode != 0
        assert not (tmp_path / "results/tables").exists(), "the study was not interrupted"
        assert_whole(tmp_path / "results", twin)
    done = snakemake(tmp_path, TINY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_whole(tmp_path / "results", twin)
    assert_same_results(tmp_path / "results", twin)


def assert_same_results(results, twin):
    def names(folder):
        """Final names, which each study has alike; those of TensorBoard hold process and time."""
        found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        return {str(path) for path in found if "tensorboard" not in path.parts}

    left = {name for name in names(results) - names(twin) if not re.search(r"aside", name)}
    assert not left and not names(twin) - names(results)
    clocks = ["seconds"]
    one, same = (
        pd.read_csv(folder / "tables/runs.csv").drop(columns=clocks) for folder in (results, twin)
    )
    pd.testing.assert_frame_equal(one, same)
    for name in ("degradation.csv", "slopes.csv", "degradation.md"):
        assert (results / "tables" / name).read_bytes() == (twin / "tables" / name).read_bytes()


def test_one_snakemake_at_a_time_has_a_study(tmp_path):
    process = start(tmp_path)
    assert wait_for(tmp_path, "prepare_dataset", process)
    try:
        refused = snakemake(tmp_path, TINY)
        output = refused.stdout + refused.stderr
        assert refused.returncode != 0
        assert f"the results folder results is in use by process {process.pid}" in output
        assert "Traceback" not in output
        # To look is allowed.
        assert snakemake(tmp_path, TINY, "--dry-run").returncode == 0
    finally:
        kill(process, everything=True)
