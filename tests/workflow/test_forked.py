"""Jobs that are forked make what jobs of a Python of their own make, also where the server dies."""

import json
import signal
import subprocess
import time

import psutil
import pytest

from labelnoise.jobs.forked import can_fork
from workflow_runs import TINY, changed, command, run_contents, snakemake

pytestmark = pytest.mark.skipif(not can_fork(), reason="no forks on this system")
RUN = "results/runs/tiny/small/short/control/rep0"


def assert_equal_runs(folder, other, run=RUN):
    assert run_contents(folder / run) == run_contents(other / run)


def test_a_run_is_the_same_to_the_byte_without_forks(whole_study, tmp_path):
    done = snakemake(tmp_path, TINY | {"fork_jobs": False}, f"{RUN}/test.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_equal_runs(tmp_path, whole_study)


def server_of(process):
    """Return the fork server of a Snakemake."""
    for child in psutil.Process(process.pid).children():
        if "fork_server.py" in " ".join(child.cmdline()):
            return child
    return None


def test_a_study_goes_on_where_the_server_is_killed(whole_study, tmp_path):
    process = subprocess.Popen(
        command(tmp_path, TINY, f"{RUN}/test.csv"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not (tmp_path / RUN / ".state/progress.json").exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.01)
    server_of(process).send_signal(signal.SIGKILL)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    assert_equal_runs(tmp_path, whole_study)
    assert json.loads((tmp_path / RUN / "run.json").read_text())["interruptions"] == []


def test_a_run_that_fails_in_a_bundle_leaves_the_others_alone(whole_study, tmp_path):
    labels = tmp_path / "results/labels/tiny/choppy-0.85/rep0.h5"
    study = changed(matrix={"repeats": 1})
    made = snakemake(tmp_path, study, str(labels.relative_to(tmp_path)))
    assert made.returncode == 0, made.stdout + made.stderr
    whole = labels.read_bytes()
    labels.write_bytes(whole[:1000])
    failed = snakemake(tmp_path, study, "bundles")
    assert failed.returncode == 1
    assert "rep0.h5 cannot be used" in failed.stderr
    assert_equal_runs(tmp_path, whole_study)
    before = (tmp_path / RUN / "run.json").stat().st_mtime_ns
    labels.write_bytes(whole)
    mended = snakemake(tmp_path, study, "bundles")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert (tmp_path / RUN / "run.json").stat().st_mtime_ns == before
    other = RUN.replace("control", "choppy-0.85")
    assert_equal_runs(tmp_path, whole_study, other)
    # Nothing is left for the plain command, and nothing for another bundle.
    rest = snakemake(tmp_path, study, f"{RUN}/test.csv", f"{other}/test.csv", "bundles", "-n")
    assert "train_model" not in rest.stdout and "run_bundle" not in rest.stdout
