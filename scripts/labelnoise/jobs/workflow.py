"""The workflow, started from a script: the same rules, the same files, the same locks."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from labelnoise.config import PROJECT

PROFILE = PROJECT / "profiles" / "default" / "config.yaml"


def make_files(targets: Sequence[Path], configs: Sequence[Path], gpus: int) -> None:
    """Let Snakemake make some files of a study; what it prints goes to the terminal.

    A signal that ends this process ends Snakemake and its jobs first; what they have done so far
    stays, and the same call goes on.

    Args:
        targets: the files.
        configs: the study's configuration files, later ones over earlier.
        gpus: how many GPUs its jobs may use at once; 0 is the CPU, with all of its cores.

    Raises:
        SystemExit: a file could not be made (1), or a signal ended the process (128 + its number).
    """
    cores = os.cpu_count() or 1
    command = [
        *(sys.executable, "-m", "snakemake", *targets),
        *("--snakefile", PROJECT / "Snakefile", "--configfile", *configs),
        *("--workflow-profile", "none", *_flags(yaml.safe_load(PROFILE.read_text()))),
        *("--cores", cores, "--set-threads", f"train_model={cores}"),
        *("--resources", f"gpu={gpus}", "--quiet", "all"),
    ]
    # A group of its own, which one signal reaches as a whole: Snakemake alone would wait for jobs.
    process = subprocess.Popen(list(map(str, command)), process_group=0)
    ended = 0

    def pass_on(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        ended = number
        os.killpg(process.pid, signal.SIGTERM)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if ended or code:
        raise SystemExit(128 + ended if ended else 1)


def _flags(profile: dict[str, Any]) -> list[str]:
    """Return a profile's settings as flags: Snakemake prints a line where it reads one itself."""
    flags = []
    for key, value in profile.items():
        values = (
            [f"{name}={each}" for name, each in value.items()] if isinstance(value, dict) else value
        )
        if value is not False and key not in ("resources", "show-failed-logs"):
            flags += [f"--{key}", *(map(str, values) if isinstance(values, list) else [])]
    return flags
