"""A training whose Snakemake was killed alone: nobody ends it, and nobody trains beside it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labelnoise.jobs.locks import holder_of
from labelnoise.study import Results, Run
from tiny import write_files
from workflow_runs import ROOT

RUN = Run("discs", "small", "short", "choppy-x", 0)
# Stands for Snakemake: holds the study, starts a training, and leaves behind how that ended.
SNAKEMAKE = """
import subprocess, sys
from pathlib import Path
from labelnoise.jobs.locks import hold_study
from labelnoise.study import Results
job, results, *files, ended = sys.argv[1:]
hold_study(Results(Path(results)))
shell = '"$@"; echo $? > ' + ended
subprocess.run(["bash", "-c", shell, "bash", sys.executable, "-c", job, results, *files])
"""
# A training of so many epochs that it does not end by itself.
TRAINING = f"""
import sys
from dataclasses import replace
from pathlib import Path
import torch
from labelnoise.jobs.devices import Device
from labelnoise.jobs.locks import hold_run
from labelnoise.jobs.script import logged
from labelnoise.study import Model, Results, Run, Task, read_study
from labelnoise.training.run import train_run
torch.set_num_threads(1)
results, dataset, labels, log = map(Path, sys.argv[1:])
recipe = replace(read_study("{ROOT}/config.yaml").recipes["plain"], batch_size=4, steps_per_epoch=1)
model = Model("unet", {{"width": 2, "depth": 2}})
run = Run.parse("{RUN.name}")
task = Task(run, model, replace(recipe, epochs=10**6), 1, dataset, labels)
folder = Results(results).run_folder(run)
with logged(str(log)), hold_run(folder):
    train_run(task, folder, Device("cpu", "cpu"))
"""


@pytest.fixture
def start(tmp_path):
    """Start a Snakemake whose training writes its log and its exit code under a name."""
    files = write_files(tmp_path)
    started = {}

    def begin(name):
        paths = [tmp_path / "results", files["dataset"], files["labels"], tmp_path / f"{name}.log"]
        ended = tmp_path / f"{name}.ended"
        command = [sys.executable, "-c", SNAKEMAKE, TRAINING, *paths, ended]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen([*map(str, command)], env=environment)
        started[ended] = process
        return process

    yield begin
    for ended, process in started.items():
        process.kill()
        process.wait()
        wait_until(ended.exists)


def wait_until(is_true):
    deadline = time.monotonic() + 600
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_training_that_was_left_behind_is_waited_for_leaves_and_is_gone_on_with(start, tmp_path):
    folder = Results(tmp_path / "results").run_folder(RUN)
    logs = [tmp_path / f"{name}.log" for name in ("first", "second")]

    def epoch():
        return json.loads(folder.progress.read_text())["epoch"] if folder.progress.exists() else 0

    killed = start("first")
    wait_until(lambda: epoch() >= 2)
    first = holder_of(folder.lock).pid
    # It stands still until the next one waits for it.
    os.kill(first, signal.SIGSTOP)
    try:
        killed.kill()
        killed.wait()
        start("second")
        waits = f"waiting for process {first} on "
        wait_until(lambda: logs[1].exists() and waits in logs[1].read_text())
        assert holder_of(folder.lock).pid == first
    finally:
        os.kill(first, signal.SIGCONT)
    ended = Path(tmp_path, "first.ended")
    # The shell makes the file before it writes to it.
    wait_until(lambda: ended.exists() and ended.read_text())
    # By no signal: 128 and its number would say so.
    assert ended.read_text() == "1\n"
    left = logs[0].read_text()
    assert "the snakemake that started this training has ended, so it ends as well" in left
    done = int(re.findall(r"INFO epoch (\d+) of", left)[-1])
    wait_until(lambda: epoch() > done)
    assert holder_of(folder.lock).pid != first
    assert f"going on after epoch {done} of 1000000" in logs[1].read_text()
