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

from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.errors import InputError
from labelnoise.files import whole_file, whole_folder
from labelnoise.networks import make_network
from labelnoise.seeds import training_seed
from labelnoise.study import run_name
from labelnoise.training.batches import Slices
from labelnoise.training.checkpoints import TopNSaver
from labelnoise.training.loop import fit
from labelnoise.training.losses import make_loss
from labelnoise.training.memory import is_out_of_memory, release, split
from labelnoise.training.state import StateKeeper, ended_by_sigterm, make_identity
from labelnoise.training.viewers import SLICES, VizPreds, evenly_spaced, open_window, read_pair

log = logging.getLogger(__name__)

RECORDED_PACKAGES = ("torch", "numpy", "h5py", "segmentation-models-pytorch", "snakemake")


def train_run(
    folder,
    names,
    model,
    recipe,
    seed,
    dataset,
    labels,
    device,
    preview_every=0,
    workers=0,
    viz=None,
    window=False,
    keep_state=False,
    study=None,
):
    """Train one network and write its run folder.

    The folder gets checkpoints/top1.pt ..., history.csv (metrics an epoch; nothing in it depends on
    the clock), timing.csv (seconds an epoch), run.json (what the run was), tensorboard/ and, where
    asked for, previews/ and viz/. While it is trained, .state/ holds what an interrupted training
    needs: the same call goes on from the last whole epoch.

    Args:
        folder: the run folder.
        names: dataset, model, recipe, perturbation and repeat of the run.
        model, recipe: their definitions in the config.
        seed: the study's seed.
        dataset, labels: paths of the HDF5 files.
        device: a devices.Device.
        preview_every: epochs between grids of validation predictions; 0 draws none.
        workers: processes that load slices.
        viz: folder with a pair of arrays to show predictions on after each epoch, see
            `viz.read_pair`; None shows none.
        window: whether to show them in a window too, where there is a display.
        keep_state: whether the state stays, so that the run may go on beyond its epochs.
        study: results folder of the study that the run is a part of, see StateKeeper.

    Raises:
        InputError: see `fit`, `make_network`, `make_loss`, `Dataset`, `LabelFile`, `read_pair` and
            `StateKeeper`.
    """
    folder = Path(folder)
    seed = training_seed(seed, names["model"], names["repeat"])
    device.limit_memory()
    data, label_file = Dataset(dataset), LabelFile(labels)
    slices = choose_slices(data, label_file, recipe)
    loss = make_loss(
        recipe["loss"],
        background_share=recipe["background_share"] or 1 - data.foreground_fraction[0],
        **recipe["loss_settings"],
    )

    log_start(names, slices)
    viewers = choose_viewers(folder, slices["validation"], preview_every, viz, data.window, window)
    digests = {"dataset": data.digest(), "labels": label_file.digest()}
    identity = make_identity(names, model, recipe, seed, digests, device.kind)
    description = describe(names, model, recipe, seed, data)
    with (
        ended_by_sigterm(),
        StateKeeper(folder / ".state", identity, recipe["epochs"], device.label, study) as keeper,
    ):

        def attempt():
            make_repeatable(seed)
            network = make_network(model, classes=len(data.class_names))
            log.info("%d parameters", count_parameters(network))
            saver = TopNSaver(
                keeper.folder, recipe["keep"], recipe["monitor"], recipe["mode"], description
            )
            with open_board(folder / "tensorboard", keeper.state) as board:
                history, timing = fit(
                    *(network, loss, slices, recipe, seed, device.kind, saver, keeper),
                    *(board, viewers, workers),
                )
            return count_parameters(network), saver, history, timing

        parameters, saver, history, timing = within_memory(attempt, keeper, recipe, device)
        record = {
            **{name: names[name] for name in ("dataset", "model", "recipe", "perturbation")},
            "repeat": int(names["repeat"]),
            "definitions": {"model": model, "recipe": recipe},
            "parameters": parameters,
            "training_seed": seed,
            "label_seed": label_file.seed,
            "digests": digests,
            **device.record(),
            "accumulation": keeper.parts,
            "out_of_memory": keeper.out_of_memory,
        }
        write_outputs(folder, saver, history, timing, record, keeper.sittings)
        if not keep_state:
            keeper.remove()


def within_memory(attempt, keeper, recipe, device):
    """Call a training; where memory does not suffice, once more with every batch in parts.

    Args:
        attempt: a function without arguments that trains from the keeper's state.
        keeper: a StateKeeper.
        recipe: the recipe.
        device: a devices.Device.

    Returns:
        What `attempt` returns.

    Raises:
        InputError: the parts do not fit either.
    """
    while True:
        try:
            return attempt()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            parts, said = split(recipe["batch_size"], keeper.parts, error, device)
        # Outside of `except`, whose traceback holds on to the tensors.
        log.warning("%s; going on with each batch in %d equal parts", said, parts)
        release(device)
        keeper.reload(parts, said)


def count_parameters(network):
    """Number of trained numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def write_outputs(folder, saver, history, timing, known, sittings):
    """Write the checkpoints, tables and record of a run that is trained."""
    with whole_folder(folder / "checkpoints") as temporary:
        kept = saver.finish(temporary)
    write_csv(folder / "history.csv", history)
    write_csv(folder / "timing.csv", timing)
    record = {
        **known,
        "checkpoints": kept,
        "chosen_rank": choose(kept),
        "seconds": round(sum(epoch["train"] + epoch["validation"] for epoch in timing), 3),
        **provenance(sittings),
    }
    with whole_file(folder / "run.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")


def describe(names, model, recipe, seed, data):
    """Say in a checkpoint what rebuilds the network and how it was trained."""
    return {
        **names,
        "model": model,
        "recipe": recipe,
        "seed": seed,
        "class_names": list(data.class_names),
        "window": [float(value) for value in data.window],
        "size": list(data.shape),
    }


def choose_viewers(folder, validation, preview_every, viz, grey_window, window):
    """List the VizPreds of a run: validation slices every few epochs, the user's pair at each."""
    viewers = []
    if preview_every:
        shown = [(int(place), 0) for place in evenly_spaced(len(validation), SLICES)]
        images_N1HW, labels_NHW = validation.__getitems__(shown)
        viewers.append(VizPreds(folder / "previews", images_N1HW[:, 0], labels_NHW, preview_every))
    if viz is not None:
        opened = open_window(str(folder)) if window else None
        pair = read_pair(viz, grey_window)
        viewers.append(VizPreds(folder / "viz", *pair, window=opened))
    return viewers


def open_board(folder, state):
    """Open the run's TensorBoard: empty, or going on after the state's last epoch."""
    if state is None:
        shutil.rmtree(folder, ignore_errors=True)
        return SummaryWriter(folder, flush_secs=30)
    return SummaryWriter(folder, flush_secs=30, purge_step=state.epoch + 1)


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


def log_start(names, slices):
    """Say in the log what is about to be trained."""
    log.info(
        "training %s: %d training and %d validation slices",
        "/".join(map(str, names.values())),
        len(slices["train"]),
        len(slices["validation"]),
    )


def describe_run(folder):
    """Say in one line for the terminal what a finished run came to and where it ran."""
    record = json.loads((Path(folder) / "run.json").read_text())
    metrics = record["checkpoints"][record["chosen_rank"] - 1]["metrics"]
    return (
        f"trained {run_name(record)}: validation Dice "
        f"{metrics['validation_dice']:.4f}, {record['seconds']:.0f} s on {record['device']}"
    )


def write_csv(path, rows):
    """Write rows of numbers to the last digit, so that files of equal runs are equal."""
    with whole_file(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


def provenance(sittings):
    """Say where, when and with what code a run was made, and how often it was interrupted."""
    commit = _git("rev-parse", "HEAD")
    return {
        "host": platform.node(),
        "started": sittings[0]["started"],
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "interruptions": sittings[1:],
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
