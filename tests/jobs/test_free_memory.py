"""The least of all limits counts, whoever set them."""

import subprocess
import sys

import pytest

from labelnoise.config import PROJECT
from labelnoise.jobs.free_memory import cores, free_memory

MEGABYTE = 2**20
# Takes and frees 48 MiB again and again; prints the pages that the last turns had to ask for.
TURNS = """
import resource
import numpy as np
from labelnoise.jobs.free_memory import keep_freed_memory

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

{kept}
for turn in range(4):
    before = pages()
    parts = [np.ones(3 << 18) for _ in range(8)]
    del parts
print(pages() - before)
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A machine of 16 MiB, of which 8 are available."""
    monkeypatch.delenv("SLURM_MEM_PER_NODE", raising=False)
    write(tmp_path / "proc/meminfo", "MemTotal: 16384 kB\nMemAvailable: 8192 kB\n")
    write(tmp_path / "proc/self/status", "Name: python\nVmRSS:\t 1024 kB\n")
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_what_the_machine_has_available_counts(root):
    assert free_memory(root) == 8 * MEGABYTE
    assert cores() >= 1


def test_a_system_that_says_nothing_has_no_answer(tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_MEM_PER_NODE", raising=False)
    assert free_memory(tmp_path) is None


@pytest.mark.parametrize("limited", ["job", "job/step"])
def test_a_limit_of_any_control_group_above_counts(root, limited):
    write(root / "proc/self/cgroup", "0::/job/step")
    for group in ("job", "job/step"):
        folder = root / "sys/fs/cgroup" / group
        limit = 5 * MEGABYTE if group == limited else "max"
        write(folder / "memory.max", limit)
        write(folder / "memory.current", 3 * MEGABYTE)
        # Of which one is a file that was read.
        write(folder / "memory.stat", f"anon {2 * MEGABYTE}\ninactive_file {MEGABYTE}")
    assert free_memory(root) == 3 * MEGABYTE


@pytest.mark.parametrize(("limit", "free"), [(5 * MEGABYTE, 2), (2**63 - 4096, 8)])
def test_control_groups_of_version_1_count(root, limit, free):
    write(root / "proc/self/cgroup", "4:cpu,memory:/job\n1:name=systemd:/job")
    folder = root / "sys/fs/cgroup/memory/job"
    write(folder / "memory.limit_in_bytes", limit)
    write(folder / "memory.usage_in_bytes", 4 * MEGABYTE)
    write(folder / "memory.stat", f"inactive_file 0\ntotal_inactive_file {MEGABYTE}")
    assert free_memory(root) == free * MEGABYTE


@pytest.mark.parametrize(("asked", "free"), [("3", 2), ("0", 8), ("100", 8), ("1", 0)])
def test_what_a_slurm_job_asked_for_counts(root, monkeypatch, asked, free):
    """In MiB; 0 is all of the node's. The process holds one of them."""
    monkeypatch.setenv("SLURM_MEM_PER_NODE", asked)
    assert free_memory(root) == free * MEGABYTE


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone is asked to keep it")
def test_freed_memory_is_used_again():
    def pages(kept):
        command = [sys.executable, "-c", TURNS.format(kept=kept)]
        where = PROJECT / "scripts"
        return int(subprocess.run(command, cwd=where, check=True, capture_output=True).stdout)

    whole = 48 * MEGABYTE // 4096
    assert pages("") > whole / 4
    assert pages("keep_freed_memory()") < whole / 50
