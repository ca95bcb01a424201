"""Leases of GPUs: one process, one card; tried with cards that are only pretended."""

import os
import signal
import subprocess
import sys
from itertools import pairwise

import pytest

from labelnoise.devices import Card, lease_device, visible
from labelnoise.errors import InputError

CARDS = [Card(index, f"GPU-{index}abc", "Pretended") for index in range(3)]

HOLDER = """
import sys, time
from labelnoise.devices import Card, lease_device
cards = [Card(i, f"GPU-{i}abc", "Pretended") for i in range(int(sys.argv[2]))]
with lease_device(1, cards, sys.argv[1], patience=60, pause=0.01) as device:
    print(device.label, time.monotonic(), flush=True)
    time.sleep(float(sys.argv[3]))
    print(time.monotonic(), flush=True)
"""

FORKING_HOLDER = """
import os, sys, time
from labelnoise.devices import Card, lease_device
with lease_device(1, [Card(0, "GPU-0abc", "Pretended")], sys.argv[1]) as device:
    loader = os.fork()
    if loader:
        print(loader, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    # The lease sets the variable; monkeypatch puts it back.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")


def hold(folder, cards, seconds, program=HOLDER):
    command = [sys.executable, "-c", program, str(folder), str(cards), str(seconds)]
    environment = {**os.environ, "PYTHONPATH": "scripts"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_no_gpu_means_the_cpu_and_hides_every_card(tmp_path):
    with lease_device(0, CARDS, tmp_path) as device:
        assert device.kind == "cpu"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    with lease_device(1, [], tmp_path) as device:
        assert device.kind == "cpu"


def test_leases_in_one_process_take_different_cards(tmp_path, monkeypatch):
    with lease_device(1, CARDS, tmp_path) as first:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        with lease_device(1, CARDS, tmp_path) as second:
            assert {first.label, second.label} == {"Pretended GPU-0abc", "Pretended GPU-1abc"}
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-1abc"


def test_a_lease_that_cannot_be_had_is_given_up_with_advice(tmp_path, monkeypatch):
    with lease_device(1, CARDS[:1], tmp_path):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        with (
            pytest.raises(InputError, match=r"no GPU of .* came free"),
            lease_device(1, CARDS[:1], tmp_path, patience=0.05, pause=0.01),
        ):
            pass


def test_a_killed_holder_frees_its_card(tmp_path):
    holder = hold(tmp_path, 1, 600)
    assert "GPU-0abc" in holder.stdout.readline()
    holder.kill()
    holder.wait()
    with lease_device(1, CARDS[:1], tmp_path, patience=5, pause=0.01) as device:
        assert device.kind == "cuda"


def test_a_killed_holder_frees_its_card_though_its_loaders_live(tmp_path):
    holder = hold(tmp_path, 1, 600, FORKING_HOLDER)
    pid = int(holder.stdout.readline().split()[0])
    try:
        holder.kill()
        holder.wait()
        with lease_device(1, CARDS[:1], tmp_path, patience=1, pause=0.01) as device:
            assert device.kind == "cuda"
    finally:
        os.kill(pid, signal.SIGKILL)


def test_contending_processes_never_share_a_card(tmp_path):
    holders = [hold(tmp_path, 2, 0.3) for _ in range(5)]
    spans = {"GPU-0abc": [], "GPU-1abc": []}
    for holder in holders:
        _, uuid, start, stop = holder.communicate()[0].split()
        assert holder.returncode == 0
        spans[uuid].append((float(start), float(stop)))
    assert sum(map(len, spans.values())) == 5 and all(spans.values())
    for held in map(sorted, spans.values()):
        assert all(before[1] <= after[0] for before, after in pairwise(held))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", [1]), ("2,0", [2, 0]), ("GPU-1", [1]), ("", []), ("7", [])],
)
def test_cuda_visible_devices_limits_the_choice(monkeypatch, value, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert [card.index for card in visible(CARDS)] == expected
