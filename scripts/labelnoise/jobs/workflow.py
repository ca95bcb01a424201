"""Snakemake, started from a script, and what it prints in the terminal."""

import difflib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from labelnoise.config import PROJECT

# How Snakemake reports a script that ended with its own sentence, or by Ctrl-C.
SAID_ALREADY = re.compile(r"returned non-zero exit status (1|130)\.")
PROFILE = PROJECT / "profiles" / "default" / "config.yaml"


def make_files(
    targets: Sequence[Path],
    configs: Sequence[Path],
    gpus: int,
    cores: int | None = None,
    threads: Mapping[str, int] | None = None,
    settings: Sequence[str] = (),
    rules: Sequence[str] = (),
) -> None:
    """Let Snakemake make some files of a study; what it prints goes to the terminal.

    A signal that ends this process ends Snakemake and its jobs first; what they have done so far
    stays, and the same call goes on from there.

    Args:
        targets: the files.
        configs: the study's configuration files, later ones over earlier.
        gpus: how many GPUs its jobs may use at once; 0 is the CPU, with all of its cores.
        cores: how many its jobs may use at once; None stands for all of the machine.
        threads: {rule: threads of a job}; None gives a training all cores.
        settings: of the configuration, over all files, as KEY=VALUE.
        rules: the only ones that may be used, so that other files are taken as they are; all if
            none is named.

    Raises:
        SystemExit: a file could not be made (1), or a signal ended the process (128 + its number).
    """
    cores = cores or os.cpu_count() or 1
    threads = threads or {"train_model": cores}
    command = [
        *(sys.executable, "-m", "snakemake", *targets),
        *("--snakefile", PROJECT / "Snakefile", "--executor", "local"),
        *(["--configfile", *configs] if configs else []),
        *(["--config", *settings] if settings else []),
        *("--workflow-profile", "none", *_flags(yaml.safe_load(PROFILE.read_text()))),
        *("--cores", cores, "--set-threads", *(f"{rule}={n}" for rule, n in threads.items())),
        *(["--allowed-rules", *rules] if rules else []),
        *("--resources", f"gpu={gpus}", "--quiet", "all"),
    ]
    # A process group of its own, for one signal to all: Snakemake alone would wait for its jobs.
    process = subprocess.Popen(list(map(str, command)), process_group=0)
    ended = 0

    def pass_on(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        ended = number
        os.killpg(process.pid, signal.SIGTERM)

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, pass_on) for number in signals}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if ended or code:
        raise SystemExit(128 + ended if ended else 1)


def _flags(profile: dict[str, Any]) -> list[str]:
    """Return a profile's settings as flags, since Snakemake announces a profile that it reads.

    Resources are left out: `make_files` sets its own.
    """
    flags = []
    for key, value in profile.items():
        if key != "resources" and value is not False:
            values = value if isinstance(value, list) else [] if value is True else [value]
            flags += [f"--{key}", *map(str, values)]
    return flags


def says_more(record: logging.LogRecord) -> bool:
    """Return whether a record of Snakemake's log says more than the failed job itself has said.

    A filter for Snakemake's logger. It drops the command line of a script that ended with its
    sentence, and removes "message: None" from the report on the job. The report on a job that was
    killed stays, since the job itself could print nothing.
    """
    if getattr(record, "exception", None) == "RuleException":
        return not SAID_ALREADY.search(record.getMessage())
    if record.levelno == logging.ERROR and getattr(record, "rule_msg", "") is None:
        record.msg = ""
    return True


def near_targets(
    targets: Callable[[], Iterable[str]],
) -> Callable[[logging.LogRecord], bool]:
    """Return a filter for Snakemake's logger that adds near names where a target is unknown.

    Args:
        targets: a function without arguments that returns every target.
    """

    def add(record: logging.LogRecord) -> bool:
        if getattr(record, "exception", None) == "MissingRuleException":
            asked = record.getMessage().partition("No rule to produce ")[2].partition(" (")[0]
            near = difflib.get_close_matches(asked, targets(), cutoff=0.8)
            record.msg += f"\nNear names: {', '.join(near)}" if near else ""
        return True

    return add


def let_signals_end(scheduler: Any) -> None:
    """Let a signal end Snakemake at any moment.

    Its handler takes the scheduler's lock. Where the signal comes while the same thread holds it,
    as when a job has just failed, Snakemake 9.27 waits for itself for ever: a bundle at its time
    limit, whose jobs end by the same signal, was left behind so, and Slurm drained the node.

    Args:
        scheduler: Snakemake's, before it schedules anything.
    """
    scheduler._lock = threading.RLock()


def look_less_often(scheduler: Any) -> None:
    """Let Snakemake's scheduler wait for one next look at the jobs that are ready, not for many.

    As it is, each look has another one follow after a second, and so has each job that ends: these
    never stop, and after some hundred jobs a core is busy with looks.

    Args:
        scheduler: the `scheduler` of Snakemake's workflow; nothing happens if it has another form.
    """
    if not hasattr(scheduler, "_open_jobs"):
        return
    waiting = threading.Lock()

    def look_again(delay: float) -> None:
        def look() -> None:
            waiting.release()
            scheduler._open_jobs.release()

        if waiting.acquire(blocking=False):
            timer = threading.Timer(delay, look)
            timer.daemon = True
            timer.start()

    scheduler._schedule_reevalutation = look_again
