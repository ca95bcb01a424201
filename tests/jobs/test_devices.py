"""Leases of GPUs: one process, one card; tried with cards that are only pretended."""

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from itertools import pairwise
from types import SimpleNamespace
from typing import ClassVar

import pytest

from labelnoise.errors import InputError
from labelnoise.jobs import devices
from labelnoise.jobs.devices import (
    GIB,
    Card,
    Device,
    installed_cards,
    lease_device,
    lease_recorded_device,
    visible,
)
from workflow_runs import ROOT

CARDS = [Card(index, f"GPU-{index}abc", "Pretended") for index in range(3)]

HOLDER = """
import sys, time
from pathlib import Path
from labelnoise.jobs import devices
from labelnoise.jobs.devices import Card, lease_device
folder, number, seconds, slots = sys.argv[1:]
devices.PAUSE = 0.01
cards = [Card(i, f"GPU-{i}abc", "Pretended", 2**33) for i in range(int(number))]
lease = dict(slots=int(slots), patience=60, purpose="training a/b")
with lease_device(1, cards, Path(folder), **lease) as device:
    print(device.card.uuid, device.slot, time.monotonic(), flush=True)
    time.sleep(float(seconds))
    print(time.monotonic(), flush=True)
"""

FORKING_HOLDER = """
import os, sys, time
from pathlib import Path
from labelnoise.jobs.devices import Card, lease_device
with lease_device(1, [Card(0, "GPU-0abc", "Pretended")], Path(sys.argv[1])) as device:
    loader = os.fork()
    if loader:
        print(loader, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setattr(devices, "PAUSE", 0.01)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    # The lease sets the variable; monkeypatch puts it back.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    for name in devices.SCHEDULER_JOB:
        monkeypatch.delenv(name, raising=False)


def hold(folder, cards, seconds, program=HOLDER, slots=1):
    command = [sys.executable, "-c", program, *map(str, (folder, cards, seconds, slots))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
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


def test_a_lease_that_cannot_be_had_is_given_up_and_names_the_holder(tmp_path, capfd):
    holder = hold(tmp_path, 1, 600)
    assert "GPU-0abc" in holder.stdout.readline()
    who = rf"held by GPU-0abc by process {holder.pid} \(training a/b, since 2.*\)"
    try:
        with (
            pytest.raises(InputError, match=rf"no GPU of .* testing c.*{who}.*--resources gpu=1"),
            lease_device(1, CARDS[:1], tmp_path, patience=0.05, purpose="testing c"),
        ):
            pass
    finally:
        holder.kill()
    said = capfd.readouterr().err
    assert re.fullmatch(rf"testing c waits for a GPU of .*: 1 may be used, {who}\n", said)


def test_a_killed_holder_frees_its_card_within_a_second(tmp_path):
    holder = hold(tmp_path, 1, 600)
    assert "GPU-0abc" in holder.stdout.readline()
    holder.kill()
    holder.wait()
    with lease_device(1, CARDS[:1], tmp_path, patience=1) as device:
        assert device.kind == "cuda"
        # Of the dead nothing is left.
        assert [path.name for path in tmp_path.glob("*.json")] == [f"GPU-0abc.{os.getpid()}.json"]
    assert not list(tmp_path.glob("*.json"))


def test_a_killed_holder_frees_its_card_though_its_loaders_live(tmp_path):
    holder = hold(tmp_path, 1, 600, FORKING_HOLDER)
    pid = int(holder.stdout.readline().split()[0])
    try:
        holder.kill()
        holder.wait()
        with lease_device(1, CARDS[:1], tmp_path, patience=1) as device:
            assert device.kind == "cuda"
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("processes", "cards", "slots"), [(12, 4, 1), (8, 1, 3)])
def test_contending_processes_never_share_a_slot(tmp_path, processes, cards, slots):
    holders = [hold(tmp_path, cards, 0.3, slots=slots) for _ in range(processes)]
    spans = {(f"GPU-{card}abc", slot): [] for card in range(cards) for slot in range(slots)}
    for holder in holders:
        uuid, slot, start, stop = holder.communicate()[0].split()
        assert holder.returncode == 0
        spans[uuid, int(slot)].append((float(start), float(stop)))
    assert sum(map(len, spans.values())) == processes and all(spans.values())
    for held in map(sorted, spans.values()):
        assert all(before[1] <= after[0] for before, after in pairwise(held))


def test_slots_of_different_size_exclude_each_other_where_they_overlap(tmp_path, monkeypatch):
    def lease(slots):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        return lease_device(1, CARDS[:1], tmp_path, slots=slots, patience=0)

    with lease(3) as third:
        assert (third.slot, third.slots) == (0, 3)
        with pytest.raises(InputError, match="came free"), lease(1):
            pass
        # Of the two halves the first overlaps the third that is held.
        with lease(2) as half:
            assert half.slot == 1
            with pytest.raises(InputError, match="runs_per_gpu: 2 that is 2 slots"), lease(2):
                pass
            with pytest.raises(InputError, match="came free"), lease(3):
                pass
        with lease(3) as second, lease(3) as last:
            assert (second.slot, last.slot) == (1, 2)
    with lease(1) as whole:
        assert whole.slots == 1


def test_every_card_gets_a_run_before_any_gets_two(tmp_path, monkeypatch):
    with ExitStack() as stack:
        held = []
        for _ in range(6):
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
            lease = lease_device(1, CARDS, tmp_path, slots=2, patience=0)
            held.append(stack.enter_context(lease))
    assert [(device.card.index, device.slot) for device in held] == [
        *((0, 0), (1, 0), (2, 0)),
        *((0, 1), (1, 1), (2, 1)),
    ]


def test_the_memory_of_a_shared_card_is_shared(monkeypatch):
    import torch

    capped = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", capped.append)
    for slots in (1, 4):
        Device("cuda", "x", CARDS[0], slots).limit_memory()
    assert capped == [0.25]


def test_a_run_uses_one_card(tmp_path):
    with pytest.raises(InputError, match="gpu is 2; leave it at 1"), lease_device(2, CARDS):
        pass


@pytest.mark.parametrize(("given", "uuid"), [("2", "GPU-2abc"), ("GPU-1abc", "GPU-1abc")])
def test_the_card_that_a_scheduler_gave_is_taken_without_waiting(
    tmp_path, monkeypatch, caplog, given, uuid
):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setattr(devices, "_GIVEN", given)
    for _ in range(2):
        with ExitStack() as stack:
            for number in range(2):
                monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
                lease = lease_device(1, CARDS, tmp_path, patience=0)
                device = stack.enter_context(lease)
                assert device.card.uuid == uuid == os.environ["CUDA_VISIBLE_DEVICES"]
                # Somebody of ours has it already: that is said, and the scheduler is believed.
                assert ("the scheduler gave a GPU that is in use" in caplog.text) == (number == 1)
        assert device.record()["scheduler"] == {
            "SLURM_JOB_ID": "17",
            "CUDA_VISIBLE_DEVICES": given,
        }
        caplog.clear()


def test_several_cards_of_a_scheduler_are_leased_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    chosen = set()
    with ExitStack() as stack:
        for _ in range(2):
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
            device = stack.enter_context(lease_device(1, CARDS, tmp_path, patience=0))
            chosen.add(device.card.index)
    assert chosen == {0, 2}


class PretendedDriver:
    """Two cards, the second divided by MIG, the first in use by somebody."""

    NVML_DEVICE_MIG_ENABLE = 1
    NVMLError = type("NVMLError", (Exception,), {})
    INSTANCES: ClassVar = ["MIG-a", None, "MIG-b"]

    def nvmlInit(self):
        pass

    nvmlShutdown = nvmlInit

    def nvmlDeviceGetCount(self):
        return 2

    def nvmlDeviceGetHandleByIndex(self, index):
        return f"GPU-{index}"

    def nvmlDeviceGetMigMode(self, handle):
        return (int(handle == "GPU-1"), 0)

    def nvmlDeviceGetMaxMigDeviceCount(self, handle):
        return 3

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle, place):
        if self.INSTANCES[place] is None:
            raise self.NVMLError
        return self.INSTANCES[place]

    def nvmlDeviceGetUUID(self, handle):
        return handle

    def nvmlDeviceGetName(self, handle):
        return "Pretended"

    def nvmlDeviceGetMemoryInfo(self, handle):
        used = 10 if handle == "GPU-0" else 0
        return SimpleNamespace(used=used * GIB, total=80 * GIB)


def test_instances_of_a_divided_card_stand_for_it_and_idle_cards_come_first(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", PretendedDriver())
    cards = installed_cards()
    assert [(card.index, card.uuid) for card in cards] == [
        *((1, "MIG-a"), (1, "MIG-b")),
        (0, "GPU-0"),
    ]
    assert cards[0].memory == 80 * GIB
    for given, expected in {"MIG-b": ["MIG-b"], "1": ["MIG-a", "MIG-b"], "0": ["GPU-0"]}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        assert [card.uuid for card in visible(cards)] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1", [1]),
        ("2,0", [2, 0]),
        ("GPU-1", [1]),
        ("", []),
        ("7", []),
        ("1,-1,0", [1]),
        ("GPU-2abc,0", [2, 0]),
    ],
)
def test_cuda_visible_devices_limits_the_choice(monkeypatch, value, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert [card.index for card in visible(CARDS)] == expected


def test_a_record_is_given_a_card_of_the_same_product(tmp_path, monkeypatch):
    cards = [Card(0, "GPU-0abc", "Other"), *CARDS[1:]]
    monkeypatch.setattr(devices, "installed_cards", lambda: cards)
    monkeypatch.setattr(devices, "_lock_folder", lambda: tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    terms = {"slots": 1, "patience": 0, "purpose": "verifying a/b"}
    with lease_recorded_device({"gpu": {"name": "Pretended"}}, **terms) as device:
        assert device.card == CARDS[1]
    with (
        pytest.raises(InputError, match="device Absent in the record, Pretended here"),
        lease_recorded_device({"gpu": {"name": "Absent"}}, **terms),
    ):
        pass
    with lease_recorded_device({"gpu": None}, **terms) as device:
        assert device.kind == "cpu"


def test_threads_are_set_as_snakemake_sets_them():
    """In a process of its own: torch reads the number once."""
    program = (
        "from labelnoise.jobs.devices import use_threads; use_threads(2); "
        "import torch; print(torch.get_num_threads())"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "2\n"
