"""A study on a GPU that its runs share: interrupted, made again and verified, equal to the byte."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from labelnoise.jobs.devices import installed_cards
from workflow_runs import ROOT, TINY, command, run_contents, snakemake

pytestmark = pytest.mark.skipif(not installed_cards(), reason="needs a GPU")
STUDY = TINY | {"runs_per_gpu": 2}
GPU = ("--resources", "gpu=2")
RUNS = [
    f"results/runs/tiny/small/short/{error}/rep{repeat}"
    for error in ("control", "choppy-0.85")
    for repeat in (0, 1)
]
RUN = RUNS[-1]


@pytest.fixture(scope="module")
def on_a_gpu(tmp_path_factory):
    """Return the folder of STUDY's runs, made on a GPU."""
    folder = tmp_path_factory.mktemp("gpu")
    done = snakemake(folder, STUDY, *(f"{run}/test.csv" for run in RUNS), *GPU)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_all_runs_take_a_slot_of_the_card_and_some_train_beside_each_other(on_a_gpu):
    records = [json.loads(path.read_text()) for path in on_a_gpu.rglob("run.json")]
    assert len(records) == 4
    assert {record["gpu"]["slots"] for record in records} == {2}
    assert {record["gpu"]["slot"] for record in records} == {0, 1}


def test_a_run_alone_on_the_card_in_a_python_of_its_own_is_the_same(on_a_gpu, tmp_path):
    study = STUDY | {"runs_per_gpu": 1, "fork_jobs": False}
    done = snakemake(tmp_path, study, f"{RUN}/test.csv", "--resources", "gpu=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert run_contents(tmp_path / RUN) == run_contents(on_a_gpu / RUN)


def test_a_training_that_is_killed_goes_on_as_if_it_had_not_been(on_a_gpu, tmp_path):
    asked = command(tmp_path, STUDY, f"{RUN}/test.csv", *GPU)
    process = subprocess.Popen(asked, cwd=tmp_path, start_new_session=True)
    while not (tmp_path / RUN / ".state/state.pt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = snakemake(tmp_path, STUDY, f"{RUN}/test.csv", *GPU)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / RUN / "run.json").read_text())["interruptions"]
    assert run_contents(tmp_path / RUN) == run_contents(on_a_gpu / RUN)


def test_a_finished_run_is_verified_on_such_a_card(on_a_gpu):
    script = [sys.executable, ROOT / "scripts/verify_run.py", "--configfile", "study.yaml"]
    done = subprocess.run(script, capture_output=True, text=True, cwd=on_a_gpu)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "GPU-" in done.stdout.splitlines()[0]
