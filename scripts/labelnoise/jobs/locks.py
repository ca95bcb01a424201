"""Locks of files, or of ranges of their bytes, that end with the process, however it ends.

They are POSIX record locks: no child shares them, so a data loader that outlives its killed parent
holds nothing, and the system names the holder. The price: a process must open a file that it holds
a lock of only once, since closing any descriptor of it gives up the lock.
"""

import errno
import fcntl
import json
import logging
import os
import platform
import struct
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from labelnoise.errors import InputError
from labelnoise.study import Results, RunFolder

log = logging.getLogger(__name__)

# struct flock of 64-bit systems, and its places of type, start, length and process.
MAC = sys.platform == "darwin"
FLOCK = "qqihh" if MAC else "hhqqi4x"
KIND, START, LENGTH, PROCESS = (3, 0, 1, 2) if MAC else (0, 2, 3, 4)
# What Lustre and NFS answer where they are mounted without locks.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
# In the environment of a study's jobs: the word that its Snakemake wrote into the lock file of the
# study, which the next Snakemake replaces, and that file.
STUDY = "LABELNOISE_STUDY"
# The lock of the study that this process makes, kept open here.
_study: list["Lock"] = []


def try_lock(file: IO[Any], start: int = 0, length: int = 0) -> bool:
    """Take an exclusive lock without waiting.

    Args:
        file: an open, writable file.
        start, length: the range of bytes, which need not exist; length 0 means without an end.

    Returns:
        Whether the lock was taken. A lock that this process holds does not matter.
    """
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except OSError as error:
        if error.errno in NO_LOCKS:
            log.warning("%s is on a file system without locks, so it is not protected", file.name)
            return True
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def unlock(file: IO[Any], start: int = 0, length: int = 0) -> None:
    """Release a range."""
    fcntl.lockf(file, fcntl.LOCK_UN, length, start)


def lock_holders(file: IO[Any], start: int = 0, length: int = 2**62) -> list[int]:
    """Return who holds parts of a range, without touching the locks.

    Args:
        file: an open file; a process that holds locks of it must not open it again for this.
        start, length: the range of bytes.

    Returns:
        Numbers of the other processes that do, in the order of the bytes; 0 or below for one on
        another host.
    """
    try:
        return _ask(file, start, length)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return []
        raise


def _ask(file: IO[Any], start: int = 0, length: int = 2**62) -> list[int]:
    """Return what `lock_holders` does; raise OSError on a file system without locks."""
    question = [0] * 5
    question[KIND], question[START], question[LENGTH] = fcntl.F_WRLCK, start, length
    answer = fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(FLOCK, *question))
    found = struct.unpack(FLOCK, answer)
    if found[KIND] == fcntl.F_UNLCK:
        return []
    first, size, process = found[START], found[LENGTH], found[PROCESS]
    # The lock that is named need not be the first one in the range.
    stop, end = start + length, first + size if size else 2**63
    before = _ask(file, start, first - start) if first > start else []
    after = _ask(file, end, stop - end) if end < stop else []
    return list(dict.fromkeys([*before, process, *after]))


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock, as its note says; None for what that lacks.

    Attributes:
        pid: its number.
        host: where it runs.
        started: when it took the lock, an aware datetime.
        device: label of the device that it computes on.
    """

    pid: int | None = None
    host: str | None = None
    started: datetime | None = None
    device: str | None = None

    def __str__(self) -> str:
        since = self.started.isoformat(timespec="seconds") if self.started else "unknown"
        host = self.host or "an unknown host"
        return f"process {self.pid or 'unknown'} on {host}, since {since}"


class Lock:
    """A file that this process alone holds until `release`, with a note in it of who that is."""

    def __init__(self, file: IO[str], **note: Any):
        started = datetime.now(UTC).isoformat(timespec="seconds")
        self._file = file
        self._note = {"pid": os.getpid(), "host": platform.node(), "started": started, **note}
        self.add()

    def add(self, **note: Any) -> None:
        """Add to the note."""
        self._note |= note
        self._file.truncate(0)
        self._file.write(json.dumps(self._note) + "\n")
        self._file.flush()

    def release(self) -> None:
        """Let others have it."""
        self._file.close()


def hold(path: Path, what: str, patience: float = 0, **note: Any) -> Lock:
    """Lock a file for this process alone.

    Args:
        path: the file; it is created if it does not exist.
        what: what the file stands for, as the subject of a sentence.
        patience: seconds to wait for another process to release it.
        note: entries of the note besides process, host and time.

    Raises:
        InputError: another process holds it, and did not release it in time.
    """
    deadline, told = time.monotonic() + patience, False
    while (file := _open_locked(path)) is None:
        if time.monotonic() >= deadline:
            raise InputError(
                f"{what} is in use by {_named_in(path)}; wait for it, or end it, and run the same "
                "command again."
            )
        if not told:
            told = True
            log.warning("waiting for %s, which has %s", _named_in(path), what)
        time.sleep(0.1)
    return Lock(file, **note)


def _open_locked(path: Path) -> IO[str] | None:
    """Return the file, opened and locked; None where another process holds or just deleted it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - Lock closes it
    except FileNotFoundError:  # its last holder deleted the folder in between
        return None
    if try_lock(file) and _is_at(path, file):
        return file
    file.close()
    return None


def _is_at(path: Path, file: IO[Any]) -> bool:
    """Return whether a path still leads to an open file, which its last holder may have deleted."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _named_in(path: Path) -> Holder:
    try:
        with open(path, encoding="utf-8") as file:
            return read_holder(file)
    except FileNotFoundError:
        return Holder()


def read_note(file: IO[Any]) -> dict[str, Any]:
    """Return the note that the holder of a lock wrote into its file; empty if there is none."""
    file.seek(0)
    try:
        note = json.loads(file.read())
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def read_holder(file: IO[Any]) -> Holder:
    """Return the process that a lock's file names."""
    note = read_note(file)
    try:
        # A time without a zone cannot be compared.
        started = datetime.fromisoformat(note["started"]).astimezone()
        device = note.get("device")
        return Holder(int(note["pid"]), str(note["host"]), started, device and str(device))
    except (ValueError, KeyError, TypeError):
        return Holder()


def holder_of(path: Path) -> Holder | None:
    """Return the other process that holds a file; None if there is none, or no such file.

    The lock is only queried and never taken, so a job that starts meanwhile is not disturbed.
    """
    try:
        file = open(path, encoding="utf-8")  # noqa: SIM115 - the with below closes it
    except (FileNotFoundError, NotADirectoryError):
        return None
    with file:
        return read_holder(file) if lock_holders(file) else None


def hold_study(results: Results) -> None:
    """Hold a study's results folder for one Snakemake at a time, until the process ends.

    A Snakemake that a job of the holder's started, for its runs, is part of that one.

    Raises:
        InputError: another one holds it.
    """
    if _is_part_of(results.lock):
        return
    word = uuid.uuid4().hex
    _study.append(hold(results.lock, f"the results folder {results.root}", word=word))
    os.environ[STUDY] = f"{word} {results.lock.absolute()}"


def _is_part_of(path: Path) -> bool:
    """Return whether this process belongs to the Snakemake that wrote a study's lock file."""
    word, _, known = os.environ.get(STUDY, "").partition(" ")
    if not word or Path(known) != path.absolute():
        return False
    try:
        with open(path, encoding="utf-8") as file:
            return read_note(file).get("word") == word
    except FileNotFoundError:
        return False


@contextmanager
def hold_run(folder: RunFolder, patience: float = 24 * 3600) -> Iterator[Lock]:
    """Hold a run for the one process that trains it.

    A Snakemake starts a run once, and a study has one Snakemake. So any other holder was left
    behind by a Snakemake that was killed, and ends after its epoch, see `is_abandoned`; this waits
    for it.

    Raises:
        InputError: another process does not end in time.
    """
    lock = hold(folder.lock, f"the training of {folder.path}", patience)
    try:
        yield lock
    finally:
        lock.release()


def is_abandoned() -> bool:
    """Return whether the Snakemake that started this job has ended, or another has its study.

    On a host other than Snakemake's only the latter can be seen, since not every file system
    shares its locks between hosts. Always False for a process that no Snakemake started.
    """
    word, _, path = os.environ.get(STUDY, "").partition(" ")
    # In that Snakemake itself, closing the file would give up its lock.
    if not word or _study:
        return False
    try:
        with open(path, encoding="utf-8") as file:
            note = read_note(file)
            if note.get("word", word) != word:
                return True
            return note.get("host") == platform.node() and not _ask(file)
    except FileNotFoundError:
        return True
    except OSError:  # the file system has no locks, or does not answer
        return False
