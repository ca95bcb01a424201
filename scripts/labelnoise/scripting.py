"""What every rule's script shares: its log file, and errors that end in one sentence."""

import difflib
import errno
import logging
import os
import re
import sys
import traceback
from contextlib import contextmanager

from labelnoise.devices import lease_device
from labelnoise.errors import InputError

# What Snakemake says of a script that ended with its own sentence, or by Ctrl-C.
SAID_ALREADY = re.compile(r"returned non-zero exit status (1|130)\.")
CANNOT_WRITE = {
    errno.ENOSPC: "no space is left on the disk; free some",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "the file may not grow further; raise the file size limit or free some space",
    errno.EACCES: "writing is not permitted there; mend the permissions",
    errno.EPERM: "writing is not permitted there; mend the permissions",
    errno.EROFS: "the file system is read-only; choose another folder with --directory",
    errno.ENOTDIR: "a part of the path is a file, not a folder; move it away",
}


@contextmanager
def logged(path):
    """Send log messages, warnings and tracebacks to the rule's log file.

    An error ends the process with exit code 1 and one sentence on standard error; the log holds
    the traceback as well, and the sentence names the log where the error is none of the user's.
    Ctrl-C ends it with exit code 130 and without a word.
    """
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    logging.basicConfig(
        filename=path,
        filemode="w",
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        force=True,
    )
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


def device_of_job(smk, verb):
    """Lease what a job's resource `gpu` and the config say, see `devices.lease_device`.

    On clusters that are asked for cards by another resource, `gres: gpu:1`, `gpu` is 0.

    Args:
        smk: the script's `snakemake` object.
        verb: what the job does to its run, for those who wait for the same GPU.
    """
    by_gres = str(smk.resources.get("gres", "")).startswith("gpu")
    return lease_device(
        smk.resources.gpu or int(by_gres),
        slots=smk.config["runs_per_gpu"],
        patience=60 * smk.config["gpu_wait"],
        purpose=f"{verb} {'/'.join(smk.wildcards)}",
    )


def says_more(record):
    """Return whether a record of Snakemake's log says more than the failed job itself has said.

    A filter for Snakemake's logger. It drops the command line of a script that ended with its
    sentence, and removes "message: None" from what Snakemake says of the job. What it says of a job
    that was killed stays, since that one could not speak for itself.
    """
    if getattr(record, "exception", None) == "RuleException":
        return not SAID_ALREADY.search(record.getMessage())
    if record.levelno == logging.ERROR and getattr(record, "rule_msg", "") is None:
        record.msg = ""
    return True


def near_targets(targets):
    """Return a filter for Snakemake's logger that adds near names where a target is unknown.

    Args:
        targets: a function without arguments that returns every target.
    """

    def add(record):
        if getattr(record, "exception", None) == "MissingRuleException":
            asked = record.getMessage().partition("No rule to produce ")[2].partition(" (")[0]
            near = difflib.get_close_matches(asked, targets(), cutoff=0.8)
            record.msg += f"\nNear names: {', '.join(near)}" if near else ""
        return True

    return add


def explain(error, log=None):
    """Return in one sentence what went wrong, for the person who can mend it.

    Args:
        error: the exception.
        log: a file that holds its traceback, named where the error is not one that users can mend.
    """
    if isinstance(error, InputError):
        return str(error)
    # h5py reports a failed write as an OSError or a RuntimeError with the errno in its text, torch
    # as a RuntimeError that the OSError led to.
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
