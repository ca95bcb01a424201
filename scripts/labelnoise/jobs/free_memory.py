"""How much main memory a process may still take, as Linux and Slurm say, and keeping it."""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

# What marks a control group without a limit in version 1: the largest number of whole pages.
NO_LIMIT_V1 = 2**62
MEGABYTE = 2**20
# Parameters of glibc's mallopt, see its manual page.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# Bytes of the largest pieces of memory that are kept when they are freed: what a step of a training
# takes, but no whole datasets, which would leave holes. Some older glibc refuse the first.
LARGEST_KEPT = (256 * MEGABYTE, 32 * MEGABYTE)


def free_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes that this process may still take; None where the system does not say.

    It is the least of what is available on the machine, what is left of the limits of the control
    groups that the process is in (those of containers, and of jobs on most clusters), and what its
    Slurm job asked for beyond what the process holds.

    Args:
        root: where /proc and /sys are.
    """
    found = [*_machine(root), *_groups(root), *_slurm(root)]
    return max(0, min(found)) if found else None


def keep_freed_memory() -> None:
    """Let this process, and those that it forks, use freed memory again, not give it back.

    The C library gives back large pieces, and takes as large ones again at the next step: the
    system then clears them and maps them page by page, see docs/speed.md for what it costs.
    Nothing happens where the library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None and any(mallopt(M_MMAP_THRESHOLD, most) for most in LARGEST_KEPT):
        mallopt(M_TRIM_THRESHOLD, -1)


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _machine(root: Path) -> Iterator[int]:
    yield from _kilobytes(root / "proc/meminfo", "MemAvailable")


def _slurm(root: Path) -> Iterator[int]:
    asked = os.environ.get("SLURM_MEM_PER_NODE", "")
    # 0 is all of the node's.
    if asked.isdigit() and int(asked):
        yield from (
            int(asked) * MEGABYTE - held for held in _kilobytes(root / "proc/self/status", "VmRSS")
        )


def _kilobytes(path: Path, name: str) -> Iterator[int]:
    """Yield the number of a line such as "MemAvailable:  1024 kB", in bytes."""
    for line in _lines(path):
        if line.startswith(f"{name}:"):
            yield int(line.split()[1]) * 1024


def _groups(root: Path) -> Iterator[int]:
    """Yield what is left of each limit on memory, of version 2 of control groups and of 1."""
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, place = line.split(":", 2)
        if number == "0":
            top, files = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = top / place.lstrip("/")
        for folder in [group, *group.parents]:
            if not folder.is_relative_to(top):
                break
            yield from _left(folder, *files)


def _left(folder: Path, limit_file: str, usage_file: str, cached: str) -> Iterator[int]:
    limits, usages = _lines(folder / limit_file), _lines(folder / usage_file)
    if limits and usages and limits[0].isdigit() and int(limits[0]) < NO_LIMIT_V1:
        statistics = dict(line.split() for line in _lines(folder / "memory.stat"))
        # The kernel gives back what it keeps of files that were read.
        yield int(limits[0]) - int(usages[0]) + int(statistics.get(cached, 0))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
