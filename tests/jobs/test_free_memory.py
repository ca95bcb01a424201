"""The least of all limits counts, whoever set them."""

import pytest

from labelnoise.jobs.free_memory import cores, free_memory

MEGABYTE = 2**20


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
