"""Locks of files, or of ranges of their bytes, that end with the process, however it ends.

They are POSIX record locks: no child shares them, so a data loader that outlives its killed parent
holds nothing, and the system names the holder. In return a process must keep one descriptor of a
file that it holds a lock of: closing any other one would give the lock up.
"""

import errno
import fcntl
import json
import logging
import os
import platform
import signal
import struct
import sys
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime

from labelnoise.errors import InputError

log = logging.getLogger(__name__)

# struct flock of 64-bit systems, and where it has type, start, length and process.
MAC = sys.platform == "darwin"
FLOCK = "qqihh" if MAC else "hhqqi4x"
KIND, START, LENGTH, PROCESS = (3, 0, 1, 2) if MAC else (0, 2, 3, 4)
# What Lustre and NFS say where they are mounted without locks.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
STUDY_LOCK = ".lock"
STUDY_WORD = "LABELNOISE_STUDY_WORD"
# Open files of the studies that this process holds; closing one would give it up.
_studies = []


def try_lock(file, start=0, length=0):
    """Take an exclusive lock without waiting.

    Args:
        file: an open, writable file.
        start, length: the range of bytes, which need not exist; length 0 is all there is to come.

    Returns:
        Whether it was had. A lock of this process itself is no obstacle.
    """
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except OSError as error:
        if error.errno in NO_LOCKS:
            log.warning("%s is on a file system without locks; nobody is kept off it", file.name)
            return True
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def unlock(file, start=0, length=0):
    """Give a range up."""
    fcntl.lockf(file, fcntl.LOCK_UN, length, start)


def lock_holders(file, start=0, length=2**62):
    """Ask who holds parts of a range, without touching the locks.

    Args:
        file: an open file; opening it for the purpose is safe in a process that holds none of its
            locks.
        start, length: the range of bytes.

    Returns:
        Numbers of the other processes that do, in the order of the bytes; not above 0 where one
        runs on another host.
    """
    question = [0] * 5
    question[KIND], question[START], question[LENGTH] = fcntl.F_WRLCK, start, length
    try:
        answer = fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(FLOCK, *question))
    except OSError as error:
        if error.errno in NO_LOCKS:
            return []
        raise
    found = struct.unpack(FLOCK, answer)
    if found[KIND] == fcntl.F_UNLCK:
        return []
    first, size, process = found[START], found[LENGTH], found[PROCESS]
    # The lock that is named need not be the first one in the range.
    stop, end = start + length, first + size if size else 2**63
    before = lock_holders(file, start, first - start) if first > start else []
    after = lock_holders(file, end, stop - end) if end < stop else []
    return list(dict.fromkeys([*before, process, *after]))


def hold(path, holds, **note):
    """Lock a file for this process alone, with a note in it of who it is.

    Args:
        path: the file; it is made if need be.
        holds: what the file stands for, as the subject of the error's sentence.
        note: what else to write down beside process, host and time.

    Returns:
        The open file; closing it gives the lock up.

    Raises:
        InputError: another process holds it.
    """
    file = open(path, "a+")  # noqa: SIM115 - the caller closes it
    if not try_lock(file):
        who = describe_holder(file)
        file.close()
        raise InputError(
            f"{holds} is in use by {who}; wait for it, or end it, and run the same command again."
        )
    started = datetime.now(UTC).isoformat(timespec="seconds")
    content = {"pid": os.getpid(), "host": platform.node(), **note, "started": started}
    file.truncate(0)
    file.write(json.dumps(content) + "\n")
    file.flush()
    return file


def read_note(file):
    """Give what `hold` wrote into a file, or an empty mapping."""
    file.seek(0)
    try:
        note = json.loads(file.read())
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def describe_holder(file):
    """Name the process that holds a file: its number, host and start, as far as they are known."""
    note = read_note(file)
    process, host = note.get("pid", "unknown"), note.get("host", "an unknown host")
    return f"process {process} on {host}, since {note.get('started', 'unknown')}"


def end_holder(path, patience=30, patience_elsewhere=120):
    """End the process that holds a file, for a caller that knows that none should.

    One on another host cannot be ended from here, but a scheduler may be about to.

    Args:
        path: the file; it need not exist.
        patience: seconds that SIGTERM has before SIGKILL.
        patience_elsewhere: seconds to wait for a process on another host.
    """
    if not os.path.exists(path):
        return
    with open(path, "a+") as file:
        holders, host = lock_holders(file), read_note(file).get("host")
        if not holders:
            return
        if holders[0] <= 0 or host != platform.node():
            log.warning("waiting for %s, which holds %s", describe_holder(file), path)
            _wait_until_free(file, patience_elsewhere)
            return
        log.warning("ending %s, which holds %s", describe_holder(file), path)
        for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5)):
            with suppress(ProcessLookupError):
                os.kill(holders[0], number)
            if _wait_until_free(file, seconds):
                return


def _wait_until_free(file, seconds):
    """Wait until nobody holds a file; say whether that came about."""
    deadline = time.monotonic() + seconds
    while lock_holders(file):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def hold_study(results):
    """Hold a study's results folder for one Snakemake at a time, until the process ends.

    Its jobs inherit a word by which they know whether it still has the study.

    Raises:
        InputError: another one holds it.
    """
    os.makedirs(results, exist_ok=True)
    word = uuid.uuid4().hex
    holds = f"the results folder {results}"
    _studies.append(hold(os.path.join(results, STUDY_LOCK), holds, word=word))
    os.environ[STUDY_WORD] = word


def take_over(path, results):
    """End whoever else holds the file of a run, which an ended Snakemake left behind.

    A Snakemake starts a run once, and a study has one Snakemake. Without a word from one this does
    nothing.

    Args:
        path: the file.
        results: the study's results folder.

    Raises:
        InputError: it is this process that was left behind.
    """
    word = os.environ.get(STUDY_WORD)
    if word is None:
        return
    with open(os.path.join(results, STUDY_LOCK)) as file:
        now = read_note(file).get("word")
    if word != now:
        raise InputError(
            f"the snakemake that started this job has ended, and another one has {results}; this "
            "job leaves the run to it."
        )
    end_holder(path)
