"""One run, from its label file to its folder: network, training, checkpoints, and a record."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

from labelnoise.data.intensity import intensities_content, scale_channels
from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.errors import InputError
from labelnoise.files import read_json, whole_folder, write_record, write_rows
from labelnoise.jobs.devices import Device
from labelnoise.jobs.free_memory import cores
from labelnoise.jobs.resources import activation_megabytes
from labelnoise.networks import make_network
from labelnoise.seeds import cases_seed, derive, training_seed
from labelnoise.study import Recipe, Run, RunFolder, Task
from labelnoise.training.batches import Index, Slices, as_inputs, room_for_slices
from labelnoise.training.checkpoints import TopNSaver, load
from labelnoise.training.decision import background_share
from labelnoise.training.loop import Rows, Setup, fit
from labelnoise.training.losses import make_loss
from labelnoise.training.memory import is_out_of_memory, training_sentence
from labelnoise.training.provenance import provenance, what_was_trained
from labelnoise.training.relabelling import mend
from labelnoise.training.state import StateKeeper, ended_by_sigterm, make_identity
from labelnoise.training.viewers import (
    SLICES,
    Board,
    Viewer,
    VizPreds,
    evenly_spaced,
    open_board,
    open_window,
    read_pair,
)

log = logging.getLogger(__name__)

# Processes that read slices for a GPU from a file: each gives about 500 of 512 px a second.
READERS = 3
# CUDA, processes that load slices and copies of the weights, in MB.
STARTED_MB = 1500


@dataclass(frozen=True)
class Extras:
    """What a training does besides, none of which changes its result.

    Attributes:
        workers: processes that load slices.
        preview_every: epochs between grids of validation predictions; 0 draws none.
        viz: folder with a pair of arrays to show predictions on after each epoch, as files and in
            a window where there is a display, see `viewers.read_pair`; None shows none.
        keep_state: whether the state is kept, so that the run can go on beyond its epochs.
    """

    workers: int = 0
    preview_every: int = 0
    viz: Path | None = None
    keep_state: bool = False


def train_run(task: Task, folder: RunFolder, device: Device, extras: Extras = Extras()) -> None:
    """Train one network and write its run folder, whose lock the caller holds.

    The folder gets checkpoints/top1.pt ..., history.csv (metrics per epoch; nothing in it depends
    on the clock), timing.csv (seconds per epoch), run.json (what the run was), tensorboard/ and,
    where asked for, previews/ and viz/. While it is trained, .state/ holds what an interrupted
    training needs: the same call goes on from the last whole epoch.

    A model that is a trainer does all of that by itself, see `trainers.run`.

    Raises:
        InputError: memory runs out, or see `fit`, `make_network`, `make_loss`, `Dataset`,
            `LabelFile`, `relabelling.mend` and `read_pair`.
    """
    if task.model.trainer:
        # Imported only when asked for: few runs need it.
        from labelnoise.training.trainers.run import train_by_trainer

        return train_by_trainer(task, folder, device, extras.keep_state)
    recipe = task.recipe
    seed = training_seed(task.seed, task.run.model, task.run.repeat)
    device.limit_memory()
    data, labels = Dataset(task.dataset), LabelFile(task.labels)
    room = partial(room_for_slices, bytes_to_train(task, data, device), extras.workers + 1)
    rows = training_rows(
        data, recipe.training_cases, cases_seed(task.seed, data.name, task.run.repeat)
    )
    digests = {"dataset": data.digest(), "labels": labels.digest()}
    identity = make_identity(task, seed, digests, device.kind)
    with ended_by_sigterm(), memory_explained(task, device), ExitStack() as stack:
        keeper = StateKeeper(folder, identity, recipe.epochs)
        used, mended = labels, {}
        if recipe.relabelling is not None:
            predict_fold = partial(_predict_fold, task, data, labels, device, extras, keeper, room)
            used, mended["relabelled"] = mend(
                data,
                labels,
                rows,
                recipe.relabelling["folds"],
                seed,
                keeper.folder,
                identity,
                predict_fold,
            )
        slices = choose_slices(data, used, recipe, seed, rows, room)
        log.info(
            "training %s: %d training and %d validation slices",
            task.run.name,
            len(slices["train"]),
            len(slices["validation"]),
        )
        done = keeper.state.epoch if keeper.state else 0
        board = stack.enter_context(open_board(folder.tensorboard, done))
        viewers: list[Viewer] = [
            Board(board),
            *choose_viewers(folder, slices["validation"], data, board, extras),
        ]
        make_repeatable(seed)
        network = make_network(task.model.as_dict(), len(data.channels), len(data.class_names))
        log.info("%d parameters", count_parameters(network))
        setup = _setup(network, slices, task, data, seed, device, extras)
        saver = TopNSaver(keeper.folder, recipe, describe_network(task, data))
        history, timing = fit(setup, saver, keeper, viewers)
        parameters = count_parameters(network)
        record = {
            **what_was_trained(task, seed, data, labels, digests, parameters),
            **mended,
            **device.record(),
        }
        write_outputs(folder, saver, history, timing, {**record, **provenance(keeper.sittings)})
        if not extras.keep_state:
            keeper.remove()


def _setup(network, slices, task, data, seed, device, extras):
    """Return the Setup of a training with a task's recipe."""
    recipe, workers = task.recipe, extras.workers
    if device.kind == "cuda" and not slices["train"].in_memory:
        workers = max(workers, min(READERS, cores()))
    share = background_share(recipe.background_share, data)
    loss = make_loss(recipe.loss, background_share=share, **recipe.loss_settings)
    return Setup(network, loss, slices, recipe, seed, device.kind, workers)


def _predict_fold(task, data, labels, device, extras, keeper, room, number, train_rows, rows):
    """Train a network as a task says, but on some rows, and return its probabilities of others.

    It is kept as any training is, in a folder of the state, and goes on after an interruption. When
    all its epochs are done it has nothing left to do but to predict.
    """
    seed = derive(training_seed(task.seed, task.run.model, task.run.repeat), "relabelling", number)
    folder = RunFolder(keeper.folder / f"fold{number}")
    own_keeper = StateKeeper(folder, keeper.identity | {"fold": str(number)}, task.recipe.epochs)
    make_repeatable(seed)
    network = make_network(task.model.as_dict(), len(data.channels), len(data.class_names))
    slices = choose_slices(data, labels, task.recipe, seed, train_rows, room)
    setup = _setup(network, slices, task, data, seed, device, extras)
    saver = TopNSaver(own_keeper.folder, task.recipe, describe_network(task, data))
    fit(setup, saver, own_keeper)
    with whole_folder(folder.checkpoints) as temporary:
        kept = saver.finish(temporary)
    trained = load(folder.checkpoint(choose(kept)))
    trained.network.to(device.kind)
    parts = np.array_split(rows, -(-len(rows) // task.recipe.batch_size))
    return np.concatenate([trained.predict_scaled(data.read(part)[0]) for part in parts])


def bytes_to_train(task: Task, data: Dataset, device: Device) -> int:
    """Return about how much main memory a training takes besides its slices."""
    height, width = data.shape
    others = 0.0
    if device.kind == "cpu":
        others = activation_megabytes(task.model, task.recipe, height * width)
    if task.recipe.relabelling is not None:
        # Float32 probabilities, and cleanlab's copy of them.
        pixels = len(data.rows("train")) * height * width
        others += 2 * 4 * pixels * len(data.class_names) / 1e6
    return int((STARTED_MB + others) * 1e6)


@contextmanager
def memory_explained(task: Task, device: Device) -> Iterator[None]:
    """Turn torch's out-of-memory errors into one sentence that says what helps."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        sentence = training_sentence(error, task.recipe, task.run.recipe, device)
        raise InputError(sentence) from error


def count_parameters(network: torch.nn.Module) -> int:
    """Return the number of a network's parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def write_outputs(
    folder: RunFolder, saver: TopNSaver, history: Rows, timing: Rows, known: Mapping[str, Any]
) -> None:
    """Write the checkpoints, tables and record of a trained run."""
    with whole_folder(folder.checkpoints) as temporary:
        kept = saver.finish(temporary)
    write_rows(folder.history, history)
    write_rows(folder.timing, timing)
    seconds = sum(epoch["train"] + epoch["validation"] for epoch in timing)
    chosen = {"checkpoints": kept, "chosen_rank": choose(kept), "seconds": round(seconds, 3)}
    write_record(folder.record, {**known, **chosen})


def describe_network(task: Task, data: Dataset) -> dict[str, Any]:
    """Return what rebuilds the network from a checkpoint, and says how it was trained."""
    return {
        **asdict(task.run),
        "model": task.model.as_dict(),
        "recipe": task.recipe.as_dict(),
        "seed": training_seed(task.seed, task.run.model, task.run.repeat),
        "class_names": list(data.class_names),
        "channels": list(data.channels),
        "intensity": intensities_content(data.intensities),
        "grid": data.provenance.get("grid"),
        "size": list(data.shape),
        "files": describe_files(data),
    }


def describe_files(data: Dataset) -> dict[str, Any] | None:
    """Return how the files of a dataset's source are read and its masks valued, None if unknown.

    Returns:
        source: the kind of source. classes: {structure: label values}, or None. channel: the
        number of the one, where one was chosen of several, or None. one_slice: whether each case is
        a single slice.
    """
    if "source" not in data.provenance:
        return None
    channel = data.provenance.get("channel")
    if isinstance(channel, list):
        channel = channel[0] if len(channel) == 1 else None
    return {
        **{key: data.provenance.get(key) for key in ("source", "classes")},
        "channel": channel if isinstance(channel, int) else None,
        "one_slice": len(set(data.case.tolist())) == len(data.case),
    }


def choose_viewers(
    folder: RunFolder,
    validation: Slices,
    data: Dataset,
    board: SummaryWriter,
    extras: Extras,
) -> Iterator[VizPreds]:
    """Yield viewers that draw predictions: on validation slices, and on the user's pair."""
    if extras.preview_every:
        shown = [Index(int(place)) for place in evenly_spaced(len(validation), SLICES)]
        images_NKHW, labels_NHW = as_inputs(validation.__getitems__(shown))
        pair = (images_NKHW.numpy(), labels_NHW.numpy())
        yield VizPreds(folder.previews, *pair, data.grey, extras.preview_every, board)
    if extras.viz is not None:
        command = f"python scripts/make_viz.py {data.name}"
        source_NKHW, references_NHW = read_pair(
            extras.viz, f"{command} --config <overlays of the study>", len(data.channels)
        )
        pair = (scale_channels(data.intensities, source_NKHW), references_NHW)
        opened = open_window(str(folder.path))
        yield VizPreds(folder.visualisations, *pair, data.grey, board=board, window=opened)


def make_repeatable(seed: int) -> None:
    """Seed torch and ask for deterministic kernels; an operation that has none only warns."""
    torch.manual_seed(seed)
    # cuBLAS is deterministic only with a workspace of fixed size.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Or torch fills all new memory before it is written, to show who reads what nobody wrote: a
    # twentieth of a step of 512 px on a GPU, a third of one of 128 px, see docs/speed.md.
    torch.utils.deterministic.fill_uninitialized_memory = False


def training_rows(data: Dataset, number: int | None, seed: int) -> np.ndarray:
    """Return the rows of the training split, or of some of its cases.

    Args:
        data: the dataset file.
        number: of cases; None takes all.
        seed: of the order in which they are taken, so that fewer are among more.

    Raises:
        InputError: there are not so many.
    """
    rows = data.rows("train")
    if number is None:
        return rows
    cases = list(dict.fromkeys(data.case[rows].tolist()))
    if number > len(cases):
        raise InputError(
            f"recipe key 'training_cases' is {number}, but dataset '{data.name}' has "
            f"{len(cases)} training cases; name at most as many."
        )
    order = np.random.default_rng(seed).permutation(len(cases))
    return rows[np.isin(data.case[rows], [cases[place] for place in order[:number]])]


def choose_slices(
    data: Dataset,
    labels: LabelFile,
    recipe: Recipe,
    seed: int,
    rows: np.ndarray,
    room: Callable[[], int] = room_for_slices,
) -> dict[str, Slices]:
    """Return the slices to train and to validate on, with the labels that the recipe asks for.

    Only the former are augmented.

    Args:
        data, labels: the files.
        recipe: the recipe.
        seed: the training seed.
        rows: of the slices to train on.
        room: says how many more bytes of memory slices may be held in.
    """
    labels.check_of(data)
    validation_labels = labels if recipe.validation_labels == "perturbed" else None
    augmentation = None
    if recipe.augmentation is not None:
        # Imported only when asked for: it takes seconds.
        from labelnoise.training.augmentation import Augmentation

        augmentation = Augmentation(recipe.augmentation, derive(seed, "augmentation"))
    # First, since no other process reads it.
    validation = Slices(data, data.rows("validation"), validation_labels, room=room())
    train = Slices(data, rows, labels, augmentation, room=room())
    return {"train": train, "validation": validation}


def choose(kept: list[dict[str, Any]]) -> int:
    """Return the rank of the kept checkpoint that the run is scored by: the best validation Dice.

    As in the 2018 code. Of equal ones the better rank; if all are NaN, rank 1.
    """

    def quality(entry: dict[str, Any]) -> tuple[float, int]:
        dice = entry["metrics"]["validation_dice"]
        return (dice if dice == dice else -1.0, -entry["rank"])

    return max(kept, key=quality)["rank"]


def describe_run(folder: RunFolder) -> str:
    """Return one line for the terminal: the result of a finished run and where it ran."""
    record = read_json(folder.record)
    metrics = record["checkpoints"][record["chosen_rank"] - 1]["metrics"]
    return (
        f"trained {Run.of(record).name}: validation Dice {metrics['validation_dice']:.4f}, "
        f"{record['seconds']:.0f} s on {record['device']}"
    )
