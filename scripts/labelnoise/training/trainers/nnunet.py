"""nnU-Net as a trainer, `trainer: nnunet`; another process alone imports its packages."""

import os
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from labelnoise.errors import InputError
from labelnoise.files import read_json, write_json
from labelnoise.seeds import derive
from labelnoise.training.trainers.outcome import Outcome
from labelnoise.training.trainers.raw_dataset import ENDING
from labelnoise.training.trainers.work import Work

WORKER = "labelnoise.training.trainers.nnunet_worker"
# In the environment, the processes that augment, nnU-Net's name for them. On the CPU the one that
# trains does: so augmentation follows its seed, and no core is shared.
WORKERS = "nnUNet_n_proc_DA"
# Folds that nnU-Net cuts its training cases into.
FOLDS = 5


def train_by_nnunet(
    work: Work, settings: Mapping[str, Any], seed: int, device: str, name: str
) -> Outcome:
    """Let nnU-Net plan, preprocess, train each fold and predict, in a process of its own.

    Args:
        work: its folder; what is there is gone on from, a training from its last whole epoch.
        settings: of the model, see the schema.
        seed: the training seed.
        device: "cpu" or "cuda".
        name: of the model.

    Raises:
        InputError: the data do not suit the settings, or see `Work.run`.
    """
    check_data(work.dataset, settings, name)
    todo, told = work.folder / "nnunet.json", work.folder / "epochs.json"
    splits = [] if settings["folds"] == "all" else make_splits(training_names(work.dataset), seed)
    workers = os.environ.get(WORKERS, None if device == "cuda" else "0")
    places = {"raw": str(work.dataset), "preprocessed": str(work.folder / "preprocessed")}
    facts = {"seed": seed, "device": device, "splits": splits, "seeded": workers == "0"}
    write_json(todo, {**settings, **places, **facts})
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]
        ),
        "nnUNet_raw": str(work.raw),
        "nnUNet_preprocessed": places["preprocessed"],
        "nnUNet_results": str(work.folder / "results"),
        "nnUNet_def_n_proc": "1",
    }
    if workers is not None:
        environment[WORKERS] = workers
    words: list[str | Path] = [sys.executable, "-m", WORKER, todo, told, work.output]
    work.run(words, f"nnU-Net, model '{name}',", environment, lambda: _epochs(told))
    said = read_json(told, ("epochs", "parameters", "plan"))
    rows = said["epochs"]
    return Outcome(
        seconds=[row.pop("seconds") for row in rows],
        history=rows,
        parameters=said["parameters"],
        facts={"nnunetv2": metadata.version("nnunetv2"), "plan": said["plan"]},
    )


def _epochs(told: Path) -> int:
    """Return how many epochs a file of the worker has; 0 before there is one."""
    return len(read_json(told, ("epochs",))["epochs"]) if told.exists() else 0


def training_names(dataset: Path) -> list[str]:
    """Return the names of the training images of a raw dataset, sorted."""
    return sorted(path.name.removesuffix(ENDING) for path in (dataset / "labelsTr").iterdir())


def check_data(dataset: Path, settings: Mapping[str, Any], name: str) -> None:
    """Refuse data that the settings cannot be met with.

    Raises:
        InputError: single slices for a 3-D configuration, or fewer cases than folds.
    """
    names = training_names(dataset)
    alone = [each for each in names if "_s" in each]
    if settings["configuration"] == "3d_fullres" and alone:
        raise InputError(
            f"config key 'models.{name}.configuration' is 3d_fullres, but {alone[0]} and others "
            "are single slices, since slices of a case have gaps or no known distance; write 2d, "
            "or give the dataset `select: all`."
        )
    cases = {each.partition("_")[0] for each in names}
    if settings["folds"] != "all" and len(cases) < FOLDS:
        raise InputError(
            f"config key 'models.{name}.folds' asks for some of {FOLDS} folds, but there are "
            f"{len(cases)} training cases; write all."
        )


def make_splits(names: list[str], seed: int) -> list[dict[str, list[str]]]:
    """Return the splits of nnU-Net's folds, all slices of a case on one side.

    Args:
        names: of the training images.
        seed: the training seed.

    Returns:
        FOLDS mappings with the names to train (`train`) and to validate on (`val`).
    """
    cases = sorted({name.partition("_")[0] for name in names})
    order = np.random.default_rng(derive(seed, "folds")).permutation(len(cases))
    fold_of = {cases[case]: place % FOLDS for place, case in enumerate(order)}
    splits = []
    for fold in range(FOLDS):
        held = [name for name in names if fold_of[name.partition("_")[0]] == fold]
        splits.append({"train": [name for name in names if name not in held], "val": held})
    return splits
