"""One run, from its label file to its folder: network, training, checkpoints, and a record."""

import json
import logging
import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pandas as pd
import torch
from torch.utils.tensorboard import SummaryWriter

from labelnoise.checkpoints import TopNSaver
from labelnoise.errors import InputError
from labelnoise.files import whole_file, whole_folder
from labelnoise.losses import make_loss
from labelnoise.networks import make_network
from labelnoise.previews import Previews
from labelnoise.seeds import training_seed
from labelnoise.storage import Dataset, LabelFile
from labelnoise.training import fit
from labelnoise.training_data import Slices

log = logging.getLogger(__name__)

RECORDED_PACKAGES = ("torch", "numpy", "h5py", "segmentation-models-pytorch", "snakemake")


def train_run(
    folder, names, model, recipe, seed, dataset, labels, device, preview_every=0, workers=0
):
    """Train one network and write its run folder.

    The folder gets checkpoints/top1.pt ..., history.csv (metrics an epoch; nothing in it depends on
    the clock), timing.csv (seconds an epoch), run.json (what the run was), tensorboard/ and, where
    asked for, previews/.

    Args:
        folder: the run folder.
        names: dataset, model, recipe, perturbation and repeat of the run.
        model, recipe: their definitions in the config.
        seed: the study's seed.
        dataset, labels: paths of the HDF5 files.
        device: a devices.Device.
        preview_every: epochs between grids of validation predictions; 0 draws none.
        workers: processes that load slices.

    Raises:
        InputError: see `fit`, `make_network`, `make_loss`, `Dataset` and `LabelFile`.
    """
    folder, started = Path(folder), datetime.now(UTC)
    seed = training_seed(seed, names["model"], names["repeat"])
    make_repeatable(seed)
    data, label_file = Dataset(dataset), LabelFile(labels)
    slices = choose_slices(data, label_file, recipe)
    network = make_network(model, classes=len(data.class_names))
    loss = make_loss(
        recipe["loss"],
        background_share=recipe["background_share"] or 1 - data.foreground_fraction[0],
        **recipe["loss_settings"],
    )
    log_start(names, slices, network)
    description = {
        **names,
        "model": model,
        "recipe": recipe,
        "seed": seed,
        "class_names": list(data.class_names),
        "window": [float(value) for value in data.window],
        "size": list(data.shape),
    }
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    previews = Previews(folder / "previews", preview_every, slices["validation"])
    with (
        whole_folder(folder / "checkpoints") as temporary,
        SummaryWriter(folder / "tensorboard", flush_secs=30) as board,
    ):
        saver = TopNSaver(temporary, recipe["keep"], recipe["monitor"], recipe["mode"], description)
        history, timing = fit(
            network, loss, slices, recipe, seed, device.kind, saver, board, previews, workers
        )
        kept = saver.finish()
    write_csv(folder / "history.csv", history)
    write_csv(folder / "timing.csv", timing)
    record = {
        **{name: names[name] for name in ("dataset", "model", "recipe", "perturbation")},
        "repeat": int(names["repeat"]),
        "definitions": {"model": model, "recipe": recipe},
        "checkpoints": kept,
        "chosen_rank": choose(kept),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "training_seed": seed,
        "label_seed": label_file.seed,
        "digests": {"dataset": data.digest(), "labels": label_file.digest()},
        "seconds": round(sum(epoch["train"] + epoch["validation"] for epoch in timing), 3),
        "device": device.label,
        **provenance(started),
    }
    with whole_file(folder / "run.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")


def make_repeatable(seed):
    """Seed torch and ask it for kernels that repeat; a kernel without such a form only warns."""
    torch.manual_seed(seed)
    # cuBLAS repeats its results only with a workspace of fixed size.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)


def choose_slices(data, label_file, recipe):
    """Give the slices to train and to validate on, with the labels that the recipe wants."""
    if label_file.dataset != data.name:
        raise InputError(
            f"{label_file.path} holds labels of dataset '{label_file.dataset}', not of "
            f"'{data.name}'; delete it and let snakemake make it again."
        )
    validation_labels = label_file if recipe["validation_labels"] == "perturbed" else None
    return {
        "train": Slices(data, data.rows("train"), label_file),
        "validation": Slices(data, data.rows("validation"), validation_labels),
    }


def choose(kept):
    """Rank of the kept checkpoint with the best validation Dice, which the run is judged by.

    As in the 2018 code. Of equal ones the better rank; where none is a number, rank 1.
    """
    dices = [entry["metrics"]["validation_dice"] for entry in kept]
    best = max(kept, key=lambda entry: (_number(dices[entry["rank"] - 1]), -entry["rank"]))
    return best["rank"]


def _number(value):
    return value if value == value else -1.0


def log_start(names, slices, network):
    """Say in the log what is about to be trained."""
    log.info(
        "training %s: %d training and %d validation slices, %d parameters",
        "/".join(map(str, names.values())),
        len(slices["train"]),
        len(slices["validation"]),
        sum(parameter.numel() for parameter in network.parameters()),
    )


def describe_run(folder):
    """Say in one line for the terminal what a finished run came to and where it ran."""
    record = json.loads((Path(folder) / "run.json").read_text())
    names = (record[name] for name in ("dataset", "model", "recipe", "perturbation"))
    metrics = record["checkpoints"][record["chosen_rank"] - 1]["metrics"]
    return (
        f"trained {'/'.join(names)}/rep{record['repeat']}: validation Dice "
        f"{metrics['validation_dice']:.4f}, {record['seconds']:.0f} s on {record['device']}"
    )


def write_csv(path, rows):
    """Write rows of numbers to the last digit, so that files of equal runs are equal."""
    with whole_file(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


def provenance(started):
    """Say where, when and with what code a run was made."""
    commit = _git("rev-parse", "HEAD")
    return {
        "host": platform.node(),
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": commit,
        "git_dirty": bool(_git("status", "--porcelain")) if commit else None,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in RECORDED_PACKAGES},
        "threads": torch.get_num_threads(),
    }


def _git(*command):
    try:
        answer = subprocess.run(
            ["git", "-C", Path(__file__).parent, *command],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
