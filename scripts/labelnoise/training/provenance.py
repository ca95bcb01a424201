"""Where, when and by which code a run was made."""

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.study import Task

RECORDED_PACKAGES = ("torch", "numpy", "h5py", "segmentation-models-pytorch", "snakemake")
# What the numbers of a run depend on: runs with equal digests were made by the same code.
CODE = ("seeds.py", "counts.py", "folds.py", "data", "labels", "networks", "training")


def what_was_trained(
    task: Task,
    seed: int,
    data: Dataset,
    labels: LabelFile,
    digests: Mapping[str, str],
    parameters: int | None,
) -> dict[str, Any]:
    """Return what a run.json holds of a training's task and its inputs.

    Args:
        task: the training.
        seed: the training seed.
        data, labels: its files.
        digests: theirs.
        parameters: of the network, None if unknown.
    """
    content = data.provenance.get("content")
    source = {"source": content["sha256"]} if content else {}
    return {
        **asdict(task.run),
        "definitions": {"model": task.model.as_dict(), "recipe": task.recipe.as_dict()},
        "parameters": parameters,
        "training_seed": seed,
        "label_seed": labels.seed,
        **({"label_kind": {"kind": labels.kind, "code": labels.code}} if labels.code else {}),
        "digests": {**digests, **source},
    }


def begin_sitting(after_epoch: int) -> dict[str, Any]:
    """Return the record of a process that starts to train after this many epochs."""
    return {
        "after_epoch": after_epoch,
        "started": _now(),
        "host": platform.node(),
        "code": code_digest(),
    }


def provenance(sittings: list[dict[str, Any]]) -> dict[str, Any]:
    """Return where, when and by which code a run was made, and how often it was interrupted.

    Args:
        sittings: what `begin_sitting` returned in each process that trained the run.
    """
    commit = _git("rev-parse", "HEAD")
    return {
        "host": platform.node(),
        "started": sittings[0]["started"],
        "ended": _now(),
        "interruptions": sittings[1:],
        # Of all sittings, as each began: the code may have changed since, or in between.
        "code": "+".join(dict.fromkeys(sitting["code"] for sitting in sittings)),
        "git_commit": commit,
        "git_dirty": bool(_git("status", "--porcelain")) if commit else None,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in RECORDED_PACKAGES},
        "threads": torch.get_num_threads(),
    }


def code_digest() -> str:
    """Return a digest of the code that the numbers of a run depend on, 12 hexadecimal digits."""
    package, digest = Path(__file__).parents[1], hashlib.sha256()
    for part in CODE:
        path = package / part
        for source in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(source.relative_to(package).as_posix().encode())
            digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    """Return a package's version, None where it is not installed: not every run needs them all."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(*command: str) -> str | None:
    """Return git's answer on the project's repository; None if the package is not inside it."""
    root = Path(__file__).parents[3]
    if not (root / "Snakefile").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", root, *command], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
