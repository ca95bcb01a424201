"""Settings that all tests share."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    # Networks this small run slower on several threads, and results depend on their number.
    torch.set_num_threads(1)
