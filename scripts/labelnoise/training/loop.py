"""The training loop: train, validate, keep the network if it is among the best, save the state.

Shape legend: N slices, K channels, C classes, H height, W width.
"""

import logging
import os
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from labelnoise.counts import dice, precision, recall
from labelnoise.errors import InputError
from labelnoise.networks.output import count_pixels, predict
from labelnoise.seeds import derive
from labelnoise.study import Recipe
from labelnoise.training.batches import Slices, as_inputs, batches_in_order, training_batches
from labelnoise.training.checkpoints import TopNSaver
from labelnoise.training.memory import backward_in_parts, forward
from labelnoise.training.schedule import make_schedule
from labelnoise.training.selection import left_out
from labelnoise.training.state import StateKeeper, leave_if_abandoned
from labelnoise.training.viewers import Viewer

log = logging.getLogger(__name__)

# The base class; one that needs a closure; ones for sparse gradients or matrices only.
UNFIT_OPTIMISERS = {"Optimizer", "LBFGS", "SparseAdam", "Muon"}

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Setup:
    """What is trained, on what, and where.

    Attributes:
        network: the module, already initialised.
        loss: a `losses.Loss`; parameters of its own are learned with the network's.
        slices: {"train": Slices, "validation": Slices}.
        recipe: the recipe.
        seed: the training seed.
        device: "cpu" or "cuda".
        workers: processes that load slices.
    """

    network: torch.nn.Module
    loss: torch.nn.Module
    slices: dict[str, Slices]
    recipe: Recipe
    seed: int
    device: str = "cpu"
    workers: int = 0

    def precision(self) -> AbstractContextManager:
        """Return the context of a forward pass: bfloat16 where the recipe asks for it."""
        if self.recipe.precision == "bf16":
            return torch.autocast(self.device, torch.bfloat16)
        return nullcontext()


def fit(
    setup: Setup, saver: TopNSaver, keeper: StateKeeper, viewers: Sequence[Viewer] = ()
) -> tuple[Rows, Rows]:
    """Train a network, from its start or from the state that a keeper found.

    For the same seed, machine and thread count, the history is the same to the last digit on the
    CPU, whether or not the training was interrupted; on a GPU as far as torch has deterministic
    kernels.

    Args:
        setup: what is trained, on what, and where.
        saver: keeps the best checkpoints.
        keeper: may hold a state to go on from, and stores one after each epoch.
        viewers: look at the network and its metrics after each epoch.

    Returns:
        (history, timing): two lists with one mapping per epoch. The history has the epoch's
        learning rate where the recipe has a schedule; the timing has seconds of training, of
        validation and of storing the state.

    Raises:
        InputError: the loss stopped being a finite number, the recipe's optimiser is unknown, or
            see `compile_network`.
        SystemExit: see `leave_if_abandoned`.
    """
    network, recipe = setup.network, setup.recipe
    # Channels last is the layout of the fast kernels: it saves a third of the time on a CPU.
    network.to(setup.device, memory_format=torch.channels_last)
    setup.loss.to(setup.device)
    if recipe.compile:
        compile_network(network, setup.device)
    optimiser = make_optimiser([*network.parameters(), *setup.loss.parameters()], recipe)
    schedule = make_schedule(optimiser, recipe)
    generator = torch.Generator(setup.device).manual_seed(derive(setup.seed, "loss"))
    state = keeper.state
    done, history, timing = (state.epoch, state.history, state.timing) if state else (0, [], [])
    order = derive(setup.seed, "order")
    batches = iter(training_batches(setup.slices["train"], recipe, order, setup.workers, done))
    if state:
        # Only after the line above, which draws from torch's own generator.
        state.restore(network, optimiser, generator, saver, schedule, setup.loss)
    epochs = range(done + 1, recipe.epochs + 1)
    # disable=None: a bar on a terminal, nothing in a file.
    for epoch in tqdm(
        epochs, unit="epoch", initial=done, total=recipe.epochs, leave=False, disable=None
    ):
        started = time.perf_counter()
        steps = islice(batches, recipe.steps_per_epoch)
        trained = train_epoch(setup, steps, optimiser, generator, epoch)
        trained_at = time.perf_counter()
        row = {"epoch": epoch, **_named("train", trained), **_named("validation", evaluate(setup))}
        if schedule is not None:
            row["learning_rate"] = optimiser.param_groups[0]["lr"]
            schedule.step()
        history.append(row)
        saver.add(epoch, row, network)
        for viewer in viewers:
            viewer.update(row, network, setup.device)
        ended = time.perf_counter()
        seconds = {"train": trained_at - started, "validation": ended - trained_at}
        # How long its state takes no state can know: 0 where the training was interrupted after it.
        timing.append({"epoch": epoch, **seconds, "state": 0.0, "sitting": len(keeper.sittings)})
        _report(row, recipe.epochs, ended - started)
        keeper.write(history, timing, network, optimiser, generator, saver, schedule, setup.loss)
        saver.sweep()
        timing[-1]["state"] = time.perf_counter() - ended
        leave_if_abandoned()
    return history, timing


def train_epoch(
    setup: Setup,
    batches: Batches,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    epoch: int,
) -> dict[str, float]:
    """Take one optimiser step per batch; return the epoch's loss, Dice, precision and recall.

    The scores are those of each batch at its step, against the labels trained on. A batch is taken
    in `recipe.accumulation` parts, see `memory.backward_in_parts`; what the recipe's `selection`
    leaves out of it counts in the scores.
    """
    network, device = setup.network.train(), setup.device
    losses, totals_C4 = [], 0
    for batch in batches:
        images_NKHW, labels_NHW = as_inputs(batch, device)
        optimiser.zero_grad(set_to_none=True)
        compute_loss = partial(
            setup.loss,
            labels_NHW=labels_NHW,
            generator=generator,
            **left_out(setup.recipe.selection, epoch),
        )
        if setup.recipe.accumulation == 1:
            with setup.precision():
                logits_NCHW = network(images_NKHW)
            value = compute_loss(logits_NCHW.float())
            value.backward()
        else:
            value, logits_NCHW = backward_in_parts(
                network, compute_loss, images_NKHW, setup.recipe.accumulation, setup.precision
            )
        optimiser.step()
        losses.append(value.detach())
        totals_C4 = totals_C4 + _totals(logits_NCHW, labels_NHW)
    # Fetched once, at the end: fetching a number from a GPU at each step would stall it.
    losses_S = torch.stack(losses).cpu()
    check_finite(losses_S, epoch, setup.recipe)
    return {"loss": losses_S.double().mean().item(), **scores(totals_C4)}


@torch.no_grad()
def evaluate(setup: Setup) -> dict[str, float]:
    """Return loss, Dice, precision and recall over all validation slices.

    Counts are pooled over the slices. A loss that samples pixels draws the same ones at every
    call, so that epochs can be compared.
    """
    network, slices, device = setup.network.eval(), setup.slices["validation"], setup.device
    generator = torch.Generator(device).manual_seed(0)
    total, totals_C4 = 0.0, 0
    for batch in batches_in_order(slices, setup.recipe.batch_size):
        images_NKHW, labels_NHW = as_inputs(batch, device)
        with setup.precision():
            logits_NCHW = forward(network, images_NKHW, setup.recipe.accumulation)
        total = total + setup.loss(logits_NCHW.float(), labels_NHW, generator) * len(labels_NHW)
        totals_C4 = totals_C4 + _totals(logits_NCHW, labels_NHW)
    return {"loss": float(total) / len(slices), **scores(totals_C4)}


def scores(totals_C4: torch.Tensor) -> dict[str, float]:
    """Return Dice, precision and recall, each the mean over the structures (without class 0)."""
    structures = totals_C4[1:].cpu().numpy()
    return {
        "dice": float(np.mean(dice(structures))),
        "precision": float(np.mean(precision(structures))),
        "recall": float(np.mean(recall(structures))),
    }


def make_optimiser(
    parameters: Iterable[torch.nn.Parameter], recipe: Recipe
) -> torch.optim.Optimizer:
    """Return the recipe's optimiser, by its name in torch.optim.

    Raises:
        InputError: there is no such optimiser, or it does not take the settings.
    """
    base = torch.optim.Optimizer
    known = {
        name: kind
        for name, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, base) and name not in UNFIT_OPTIMISERS
    }
    name = recipe.optimiser
    if name not in known:
        raise InputError(
            f"recipe key 'optimiser' is '{name}'; expected one of: {', '.join(sorted(known))}."
        )
    try:
        return known[name](parameters, lr=recipe.learning_rate, **recipe.optimiser_settings)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"recipe key 'optimiser_settings' does not fit {name}: {error}."
        ) from error


def compile_network(network: torch.nn.Module, device: str) -> None:
    """Let torch.compile make kernels for a network, once for each shape of a batch.

    Kernels for all shapes, which torch makes at the second shape that it meets, would serve the
    first as well from then on: a training that was interrupted would differ from one that was not.

    Raises:
        InputError: there is no C++ compiler.
    """
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if device == "cpu" and shutil.which(compiler.split()[0]) is None:
        raise InputError(
            f"recipe key 'compile' is true, but there is no C++ compiler '{compiler}'; install it, "
            "name another in the environment variable CXX, or leave the key out."
        )
    # What earlier trainings of this process left would count towards torch's limit of shapes.
    torch.compiler.reset()
    # Without trials of which kernel is fastest: kernels may add up in another order.
    network.compile(dynamic=False, options={"deterministic": True})


def check_finite(losses_S: torch.Tensor, epoch: int, recipe: Recipe) -> None:
    """Refuse an epoch that holds a loss of NaN or infinity.

    Args:
        losses_S: loss of each step.
        epoch, recipe: for the message.

    Raises:
        InputError: a loss is not finite.
    """
    wrong = torch.nonzero(~torch.isfinite(losses_S))
    if len(wrong):
        step = int(wrong[0])
        hint = f"lower the learning_rate ({recipe.learning_rate:g})"
        if recipe.precision != "32":
            hint += ' or set precision: "32"'
        raise InputError(
            f"the loss became {losses_S[step]:g} in epoch {epoch}, step {step + 1}; {hint}."
        )


def _totals(logits_NCHW: torch.Tensor, labels_NHW: torch.Tensor) -> torch.Tensor:
    return count_pixels(predict(logits_NCHW.detach()), labels_NHW).sum(0)


def _named(part: str, metrics: dict[str, float]) -> dict[str, float]:
    return {f"{part}_{name}": value for name, value in metrics.items()}


def _report(row: dict[str, Any], epochs: int, seconds: float) -> None:
    log.info(
        "epoch %d of %d: loss %.4f, validation loss %.4f, validation Dice %.4f, %.1f s",
        row["epoch"],
        epochs,
        row["train_loss"],
        row["validation_loss"],
        row["validation_dice"],
        seconds,
    )
