"""Settings and a whole study that all tests share."""

import pytest
import torch

from workflow_runs import TINY, snakemake


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    # Networks this small run slower on several threads, and results depend on their number.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def whole_study(tmp_path_factory):
    """Run TINY from nothing to its figures; return (its folder, the finished process)."""
    folder = tmp_path_factory.mktemp("study")
    done = snakemake(folder, TINY)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done
