"""The training loop: train, validate, keep the network if it is among the best, write it down.

Shape legend: N slices, C classes, H height, W width.
"""

import logging
import time
from contextlib import nullcontext
from functools import partial
from itertools import islice

import numpy as np
import torch
from tqdm import tqdm

from labelnoise.counts import dice, precision, recall
from labelnoise.errors import InputError
from labelnoise.networks.output import count_pixels, predict
from labelnoise.seeds import derive
from labelnoise.training.batches import batches_in_order, training_batches
from labelnoise.training.memory import backward_in_parts, forward

log = logging.getLogger(__name__)

# The base class; one that steps by calls of its own; ones for sparse gradients or matrices alone.
UNFIT_OPTIMISERS = {"Optimizer", "LBFGS", "SparseAdam", "Muon"}


def fit(
    network,
    loss,
    slices,
    recipe,
    seed,
    device,
    saver,
    keeper,
    board=None,
    viewers=(),
    workers=0,
):
    """Train a network, from its start or from the state that a keeper found.

    With one seed, machine and thread count, the history is the same to the last digit on the CPU,
    whether or not the training was interrupted; on a GPU as far as torch has deterministic kernels.

    Args:
        network: the module, already initialised.
        loss: a function of (logits_NCHW, labels_NHW, generator).
        slices: {"train": Slices, "validation": Slices}.
        recipe: a recipe of the config.
        seed: the training seed, an integer.
        device: "cpu" or "cuda".
        saver: a TopNSaver.
        keeper: a StateKeeper, which may hold a state to go on from and stores one each epoch, and
            says in how many parts a batch is taken, see `memory`.
        board: a TensorBoard SummaryWriter, or None.
        viewers: VizPreds that look at the network after every epoch.
        workers: processes that load slices.

    Returns:
        (history, timing): a list of mappings each, one an epoch.

    Raises:
        InputError: the loss stopped being a finite number, or the recipe's optimiser is unknown.
    """
    # Channels last is the layout of the fast kernels: a third less time on a CPU.
    network.to(device, memory_format=torch.channels_last)
    optimiser = make_optimiser(network.parameters(), recipe)
    generator = torch.Generator(device).manual_seed(derive(seed, "loss"))
    state = keeper.state
    done, history, timing = (state.epoch, state.history, state.timing) if state else (0, [], [])
    order = derive(seed, "order")
    batches = iter(training_batches(slices["train"], recipe, order, workers, done))
    if state:
        # Not before the line above, which draws from torch's own generator.
        state.restore(network, optimiser, generator, saver)
    epochs = range(done + 1, recipe["epochs"] + 1)
    # disable=None: a bar on a terminal, nothing in a file.
    bar = {"initial": done, "total": recipe["epochs"], "leave": False, "disable": None}
    for epoch in tqdm(epochs, unit="epoch", **bar):
        started = time.perf_counter()
        steps = islice(batches, recipe["steps_per_epoch"])
        trained = train_epoch(
            network, loss, steps, optimiser, recipe, generator, device, epoch, keeper.parts
        )
        trained_at = time.perf_counter()
        validated = evaluate(network, loss, slices["validation"], recipe, device, keeper.parts)
        row = {"epoch": epoch, **_named("train", trained), **_named("validation", validated)}
        history.append(row)
        saver.add(epoch, row, network)
        for viewer in viewers:
            viewer.update(epoch, network, device, board)
        if board is not None:
            write_scalars(board, row)
        ended = time.perf_counter()
        seconds = {"train": trained_at - started, "validation": ended - trained_at}
        timing.append({"epoch": epoch, **seconds, "sitting": len(keeper.sittings)})
        keeper.write(history, timing, network, optimiser, generator, saver)
        saver.sweep()
        _report(row, recipe["epochs"], ended - started)
    return history, timing


def train_epoch(network, loss, batches, optimiser, recipe, generator, device, epoch, parts=1):
    """Take one optimiser step a batch; give the epoch's loss, Dice, precision and recall.

    The scores are those of the batches as they were seen, against the labels trained on.
    """
    network.train()
    losses, totals_C4 = [], 0
    for images_N1HW, labels_NHW in batches:
        images_N1HW = images_N1HW.to(device, non_blocking=True)
        labels_NHW = labels_NHW.to(device, non_blocking=True)
        optimiser.zero_grad(set_to_none=True)
        precision = partial(mixed_precision, recipe, device)
        compute_loss = partial(loss, labels_NHW=labels_NHW, generator=generator)
        if parts == 1:
            with precision():
                logits_NCHW = network(images_N1HW)
            value = compute_loss(logits_NCHW.float())
            value.backward()
        else:
            value, logits_NCHW = backward_in_parts(
                network, compute_loss, images_N1HW, parts, precision
            )
        optimiser.step()
        losses.append(value.detach())
        totals_C4 = totals_C4 + _totals(logits_NCHW, labels_NHW)
    # One look at the end: asking a GPU for a number at each step would stop it each time.
    losses = torch.stack(losses).cpu()
    check_finite(losses, epoch, recipe)
    return {"loss": losses.double().mean().item(), **scores(totals_C4)}


@torch.no_grad()
def evaluate(network, loss, slices, recipe, device, parts=1):
    """Give loss, Dice, precision and recall over all slices.

    Counts are pooled over the slices. A loss that samples pixels draws the same ones at every
    call, so that epochs can be compared.
    """
    network.eval()
    generator = torch.Generator(device).manual_seed(0)
    total, totals_C4 = 0.0, 0
    for images_N1HW, labels_NHW in batches_in_order(slices, recipe["batch_size"]):
        images_N1HW, labels_NHW = images_N1HW.to(device), labels_NHW.to(device)
        with mixed_precision(recipe, device):
            logits_NCHW = forward(network, images_N1HW, parts)
        total = total + loss(logits_NCHW.float(), labels_NHW, generator) * len(labels_NHW)
        totals_C4 = totals_C4 + _totals(logits_NCHW, labels_NHW)
    return {"loss": float(total) / len(slices), **scores(totals_C4)}


def scores(totals_C4):
    """Give Dice, precision and recall, each the mean over the structures (class 0 left out)."""
    structures = totals_C4[1:].cpu().numpy()
    return {
        "dice": float(np.mean(dice(structures))),
        "precision": float(np.mean(precision(structures))),
        "recall": float(np.mean(recall(structures))),
    }


def make_optimiser(parameters, recipe):
    """Make the recipe's optimiser, by its name in torch.optim.

    Raises:
        InputError: there is no such optimiser, or it does not take the settings.
    """
    base = torch.optim.Optimizer
    known = {
        name: kind
        for name, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, base) and name not in UNFIT_OPTIMISERS
    }
    name = recipe["optimiser"]
    if name not in known:
        raise InputError(
            f"recipe key 'optimiser' is '{name}'; expected one of: {', '.join(sorted(known))}."
        )
    try:
        return known[name](parameters, lr=recipe["learning_rate"], **recipe["optimiser_settings"])
    except (TypeError, ValueError) as error:
        raise InputError(
            f"recipe key 'optimiser_settings' does not fit {name}: {error}."
        ) from error


def check_finite(losses, epoch, recipe):
    """Refuse an epoch (losses: one a step) that holds a loss of NaN or infinity."""
    wrong = torch.nonzero(~torch.isfinite(losses))
    if len(wrong):
        step = int(wrong[0])
        hint = f"lower the learning_rate ({recipe['learning_rate']:g})"
        if recipe["precision"] != "32":
            hint += ' or set precision: "32"'
        raise InputError(
            f"the loss became {losses[step]:g} in epoch {epoch}, step {step + 1}; {hint}."
        )


def mixed_precision(recipe, device):
    """Context of the forward pass: bfloat16 where the recipe asks for it."""
    if recipe["precision"] == "bf16":
        return torch.autocast(device, torch.bfloat16)
    return nullcontext()


def write_scalars(board, row):
    """Show an epoch's metrics in TensorBoard, train and validation in one chart a metric."""
    for name, value in row.items():
        if name != "epoch":
            part, metric = name.split("_")
            board.add_scalar(f"{metric}/{part}", value, row["epoch"])
    # Now, since an interrupted training does not show its past epochs again.
    board.flush()


def _totals(logits_NCHW, labels_NHW):
    return count_pixels(predict(logits_NCHW.detach()), labels_NHW).sum(0)


def _named(part, metrics):
    return {f"{part}_{name}": value for name, value in metrics.items()}


def _report(row, epochs, seconds):
    log.info(
        "epoch %d of %d: loss %.4f, validation loss %.4f, validation Dice %.4f, %.1f s",
        row["epoch"],
        epochs,
        row["train_loss"],
        row["validation_loss"],
        row["validation_dice"],
        seconds,
    )
