"""Settings and a whole study that all tests share."""

import os
import shutil

import pytest
import torch

from labelnoise import own_code
from labelnoise.jobs.locks import hold
from workflow_runs import TINY, snakemake

# Threads that wait for work leave the cores to others, which matters on a busy machine.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def pytest_collection_modifyitems(items):
    """Put whole studies first, so that they do not keep one of two workers busy at the end."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    # Networks this small run slower on several threads, and results depend on their number.
    torch.set_num_threads(1)


@pytest.fixture
def no_own_code(monkeypatch):
    """Start without code of the user's, and forget afterwards what a test used."""
    monkeypatch.setattr(own_code, "_paths", {})
    monkeypatch.setattr(own_code, "_loaded", {})


@pytest.fixture(scope="session")
def whole_study(tmp_path_factory):
    """Return the folder of TINY, run from nothing to its figures; only to be read.

    Beside results/ it holds what Snakemake printed, as output.txt. Processes that share the tests
    share the study: the first one to ask makes it.
    """
    home = tmp_path_factory.getbasetemp()
    home = home.parent if "PYTEST_XDIST_WORKER" in os.environ else home
    folder = home / "whole-study"
    lock = hold(home / "whole-study.lock", "the tests' study", patience=1800)
    try:
        if not (folder / "output.txt").exists():
            folder.mkdir(exist_ok=True)
            done = snakemake(folder, TINY)
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / "output.txt").write_text(done.stdout)
    finally:
        lock.release()
    return folder


@pytest.fixture
def study_copy(whole_study, tmp_path):
    """Return a copy of the whole study to write to; Snakemake finds nothing to do there."""
    return shutil.copytree(whole_study, tmp_path / "study")
