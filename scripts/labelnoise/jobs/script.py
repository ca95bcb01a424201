"""What every rule's script shares: its log file, and errors that end in one sentence."""

import errno
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from labelnoise.errors import InputError
from labelnoise.jobs.devices import Device, lease_device
from labelnoise.jobs.free_memory import keep_freed_memory
from labelnoise.own_code import blame
from labelnoise.study import Run

CANNOT_WRITE = {
    errno.ENOSPC: "no space is left on the disk; free some",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "the file may not grow further; raise the file size limit or free some space",
    errno.EACCES: "writing is not permitted there; correct the permissions",
    errno.EPERM: "writing is not permitted there; correct the permissions",
    errno.EROFS: "the file system is read-only; choose another folder with --directory",
    errno.ENOTDIR: "a part of the path is a file, not a folder; move it away",
}
# The lines of a log, and a pattern for the beginning of a record.
LINE, CLOCK = "%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"
RECORD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ([A-Z]+) ", re.MULTILINE)
TRACEBACK = "Traceback (most recent call last)"
# Bytes that are read from the end of a log: enough for any traceback.
TAIL = 1 << 16


@contextmanager
def logged(path: str) -> Iterator[None]:
    """Send log messages, warnings and tracebacks to the rule's log file.

    An error ends the process with exit code 1 and one sentence on standard error; the log holds
    the traceback as well, and the sentence names the log if the error is not the user's.
    Ctrl-C ends it silently with exit code 130. Freed memory is kept for the job.
    """
    keep_freed_memory()
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    # Emptied, then appended to, since a job that was left behind may still write to it.
    open(path, "w").close()
    logging.basicConfig(filename=path, level=logging.INFO, format=LINE, datefmt=CLOCK, force=True)
    logging.captureWarnings(True)
    try:
        yield
    except Exception as error:
        logging.error("%s\n%s", explain(error), traceback.format_exc())
        sys.exit(f"error: {explain(error, path)}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        logging.shutdown()


def given_files(smk: Any) -> dict[str, Path]:
    """Return the files of the given labels that a rule's job takes, by the perturbation's name."""
    return {Path(path).stem: Path(path) for path in smk.input.given}


def last_error(path: Path) -> str | None:
    """Return the sentence of the error that a log of `logged` ends in.

    Only the end of a long log is read.

    Returns:
        The sentence on one line; None if the log ends in something else or is missing.
    """
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL))
            text = file.read().decode("utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    records = list(RECORD.finditer(text))
    if not records or records[-1][1] != "ERROR":
        return None
    return " ".join(text[records[-1].end() :].partition(TRACEBACK)[0].split())


def gpus_of_job(resources: Any) -> int:
    """Return how many GPUs a job asks for, by its resource `gpu` or, on some clusters, by `gres`.

    Args:
        resources: of the job, as the script's `snakemake` object has them.
    """
    return resources.gpu or int(str(resources.get("gres", "")).startswith("gpu"))


def device_of_job(smk: Any, verb: str) -> AbstractContextManager[Device]:
    """Lease the device that a job's resources and the config ask for, see `lease_device`.

    Args:
        smk: the script's `snakemake` object.
        verb: what the job does with its run, for those that wait for the same GPU.
    """
    return lease_device(
        gpus_of_job(smk.resources),
        slots=smk.config["runs_per_gpu"],
        patience=60 * smk.config["gpu_wait"],
        purpose=f"{verb} {Run.of(smk.wildcards).name}",
    )


def explain(error: BaseException, log: str | None = None) -> str:
    """Return one sentence on what went wrong, for the person who can fix it.

    Args:
        error: the exception.
        log: the file with its traceback, named if the error is not one that users can fix.
    """
    if isinstance(error, InputError):
        # From a process that loads slices torch passes on the whole traceback, which ends in it.
        return str(error).rpartition("InputError: ")[2].strip()
    if own := blame(error):
        return own
    # h5py reports a failed write as an OSError or a RuntimeError with the errno in its text, torch
    # as a RuntimeError whose context is the OSError.
    number = getattr(error, "errno", None) or getattr(error.__context__, "errno", None)
    number = number or next(
        (code for code in CANNOT_WRITE if f"errno = {code}," in str(error)), None
    )
    if number in CANNOT_WRITE:
        where = getattr(error, "filename", None)
        what = f"cannot write {where}" if where else "cannot write the results"
        return f"{what}: {CANNOT_WRITE[number]}, then run the same command again."
    hint = f" (not expected to happen; the traceback is in {log})" if log else ""
    return f"{type(error).__name__}: {error}{hint}"
