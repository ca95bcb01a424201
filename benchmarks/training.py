"""Compare `fit` with a bare loop: the same network, loss, optimiser and slices, and nothing else.

    python benchmarks/training.py

Prints images per second of the bare loop and of `fit`, on one thread: of steps alone, and of epochs
with validation, checkpoints, and the state that an interrupted training goes on from. Both take
short turns, in CPU seconds of this process, and the median of the ratios counts, so that it holds
on a busy machine. The bare loop holds its slices as tensors, ready for use, and validates by the
loss alone. Then the steps of `fit` in a process that keeps the memory it frees, as jobs do and this
one does, beside those in one that gives it back; and with each setting for speed, beside those
without.
"""

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cached_property
from itertools import cycle, islice
from math import inf
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from labelnoise.data.prepare import prepare_dataset  # noqa: E402
from labelnoise.data.storage import SPLITS, Dataset, LabelFile, write_dataset  # noqa: E402
from labelnoise.jobs.free_memory import cores, keep_freed_memory  # noqa: E402
from labelnoise.labels.dataset import calibrate_dataset, perturb_dataset  # noqa: E402
from labelnoise.networks import make_network  # noqa: E402
from labelnoise.study import Perturbation, Run, RunFolder, Study, Task, read_study  # noqa: E402
from labelnoise.training.batches import Slices, training_batches  # noqa: E402
from labelnoise.training.checkpoints import TopNSaver  # noqa: E402
from labelnoise.training.loop import (  # noqa: E402
    Setup,
    compile_network,
    fit,
    make_optimiser,
    train_epoch,
)
from labelnoise.training.losses import make_loss  # noqa: E402
from labelnoise.training.run import make_repeatable  # noqa: E402
from labelnoise.training.state import StateKeeper  # noqa: E402
from rows import Rows, add_output  # noqa: E402

SIZES = (64, 128)
# Slices of each split; validation is the share of an epoch that it is in a usual study.
SLICES = {"train": 240, "validation": 80, "test": 1}
# Steps of a turn, and of an epoch, which is the paper's; turns of steps.
STEPS, EPOCH, TURNS = 4, 35, 25
# Epochs of a turn, for what a training does once not to count for each of them; their turns.
EPOCHS, EPOCH_TURNS = 4, 7
# So many that nothing measured here comes to their end.
ENDLESS = 10**6
# Keys of a recipe that make steps faster.
SETTINGS = {
    "fused: true": {"optimiser_settings": {"eps": 1e-7, "fused": True}},
    "precision: bf16": {"precision": "bf16"},
    "compile: true": {"compile": True},
    "all three": {
        "optimiser_settings": {"eps": 1e-7, "fused": True},
        "precision": "bf16",
        "compile": True,
    },
}
STUDY = read_study(ROOT / "config.yaml")


class Trial:
    """One network, recipe and size of slices, trained by `fit` and by a bare loop.

    Every turn is a function that trains for a while and returns how many slices it trained on.
    """

    def __init__(
        self,
        folder: Path,
        size: int,
        device: str = "cpu",
        model: str = "unet",
        error: Perturbation | None = None,
        workers: int = 0,
        **recipe,
    ):
        """Make slices in a folder.

        Args:
            folder, size: of the slices, in pixels along a side.
            device, model: what is trained, and where.
            error: of the labels, of a given severity; None trains on the reference labels.
            workers: processes that load slices.
            recipe: changes keys of the study's plain recipe.
        """
        changes = {"steps_per_epoch": EPOCH, "epochs": EPOCHS, **recipe}
        self.recipe = replace(STUDY.recipes["plain"], **changes)
        self.folder, self.device = folder, device
        path = folder / f"{size}.h5"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_slices(path, size)
        data = Dataset(path)
        slices = {split: Slices(data, data.rows(split)) for split in ("train", "validation")}
        if error is not None:
            labels = write_labels(path, error)
            slices["train"] = Slices(data, data.rows("train"), LabelFile(labels))
        make_repeatable(1)
        network = make_network(STUDY.models[model].as_dict())
        loss = make_loss(self.recipe.loss)
        self.setup = Setup(network, loss, slices, self.recipe, 1, device)
        network.to(device, memory_format=torch.channels_last)
        if self.recipe.compile:
            compile_network(network, device)
        self.optimiser = make_optimiser(network.parameters(), self.recipe)
        # Not cycled, which would keep every batch and give it again for nothing.
        endless = replace(self.recipe, epochs=ENDLESS)
        self.batches = iter(training_batches(slices["train"], endless, 1, workers))

    @cached_property
    def tensors(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Images and labels of each split, ready on the device."""
        found = {}
        for split, slices in self.setup.slices.items():
            images, labels = map(torch.from_numpy, slices.dataset.read(slices.rows))
            images = images.to(self.device, memory_format=torch.channels_last)
            found[split] = images, labels.long().to(self.device)
        return found

    def steps(self, number: int = STEPS) -> int:
        """Take steps as `fit` does."""
        make_repeatable(1)
        generator = torch.Generator(self.device).manual_seed(0)
        train_epoch(self.setup, islice(self.batches, number), self.optimiser, generator, 1)
        return number * self.recipe.batch_size

    def bare_steps(self, number: int = STEPS, deterministic: bool = False) -> int:
        """Take as many steps of a bare loop, with the fastest kernels or deterministic ones."""
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
        images_NKHW, labels_NHW = self.tensors["train"]
        network, loss = self.setup.network.train(), self.setup.loss
        order = torch.randperm(len(images_NKHW)).to(self.device).split(self.recipe.batch_size)
        for chosen in islice(cycle(order), number):
            self.optimiser.zero_grad(set_to_none=True)
            with self.setup.precision():
                logits_NCHW = network(images_NKHW[chosen])
            loss(logits_NCHW.float(), labels_NHW[chosen]).backward()
            self.optimiser.step()
        return number * self.recipe.batch_size

    def epochs(self) -> int:
        """Train for all epochs of the recipe with `fit`."""
        make_repeatable(1)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            keeper = StateKeeper(RunFolder(Path(folder)), {}, self.recipe.epochs)
            fit(self.setup, TopNSaver(keeper.folder, self.recipe, {}), keeper)
        return self.recipe.epochs * EPOCH * self.recipe.batch_size

    def bare_epochs(self) -> int:
        """Take as many steps of a bare loop, and look at the validation loss after each epoch."""
        slices = 0
        for _ in range(self.recipe.epochs):
            slices += self.bare_steps(EPOCH)
            network = self.setup.network.eval()
            parts = [part.split(self.recipe.batch_size) for part in self.tensors["validation"]]
            with torch.no_grad():
                for images_NKHW, labels_NHW in zip(*parts, strict=True):
                    with self.setup.precision():
                        logits_NCHW = network(images_NKHW)
                    self.setup.loss(logits_NCHW.float(), labels_NHW)
        return slices


class Apart:
    """Steps of `fit` in a process of their own, which keeps the memory it frees, or gives it back.

    Attributes:
        seconds: CPU seconds of all its turns.
    """

    def __init__(self, folder: Path, size: int, keeps: bool):
        """Make the slices in a folder, if they are not there."""
        context = multiprocessing.get_context("spawn")
        self._process = ProcessPoolExecutor(1, context, _begin, (folder, size, keeps))
        self.seconds = 0.0

    def steps(self) -> int:
        """Take steps; return on how many slices."""
        slices, seconds = self._process.submit(_take_steps).result()
        self.seconds += seconds
        return slices

    def end(self) -> None:
        """End the process."""
        self._process.shutdown()


def _begin(folder: Path, size: int, keeps: bool) -> None:
    global TRIAL
    torch.set_num_threads(1)
    if keeps:
        keep_freed_memory()
    TRIAL = Trial(folder, size)


def _take_steps() -> tuple[int, float]:
    started = process_time()
    return TRIAL.steps(), process_time() - started


def write_slices(path: Path, size: int) -> None:
    """Write a dataset of squares under noise, labelled where they are bright."""
    rng = np.random.default_rng(0)
    about = {"name": "noise", "class_names": ["background", "bright"], "provenance": {}}
    with write_dataset(path, window=(-1, 1), **about) as writer:
        for split in SPLITS:
            for case in range(SLICES[split]):
                coarse = rng.uniform(-1, 1, (8, 8))
                bright_HW = np.kron(coarse, np.ones((size // 8, size // 8)))
                image_HW = np.clip(bright_HW + rng.normal(0, 0.1, bright_HW.shape), -1, 1)
                labels_HW = (bright_HW > 0.5).astype(np.uint8)
                writer.append(f"{split}{case}", split, [0], image_HW[None], labels_HW[None])


def write_labels(dataset: Path, error: Perturbation) -> Path:
    """Return the file beside a dataset of its labels with an error; write it if it is not there."""
    names = ("calibration.json", "labels.h5", "measured.csv")
    calibration, labels, measured = (dataset.with_suffix(f".{name}") for name in names)
    if not measured.exists():
        calibrate_dataset(dataset, "error", error, 1, calibration)
        perturb_dataset(dataset, calibration, error, 0, 1, labels, measured)
    return labels


def make_task(study: Study, run: Run) -> Task:
    """Make the dataset and the labels of a run where they are not there; return its task."""
    task, paths = study.task(run), study.results
    calibration, measured = (paths.fill(path, run) for path in (paths.calibration, paths.measured))
    error = study.perturbations[run.perturbation]
    if not task.dataset.exists():
        settings = study.datasets[run.dataset]
        prepare_dataset(run.dataset, settings, task.seed, task.dataset, workers=cores())
    if not calibration.exists():
        calibrate_dataset(task.dataset, run.perturbation, error, task.seed, calibration)
    if not measured.exists():
        perturb_dataset(
            task.dataset, calibration, error, run.repeat, task.seed, task.labels, measured
        )
    return task


def images_per_second(
    turns: dict[str, Callable[[], int]],
    number: int,
    clock: Callable[[], float] = process_time,
    seconds: float = inf,
) -> dict[str, float]:
    """Return how many slices a second each trains on.

    Of the first it is the median of its turns, of any other that times the median of the ratios of
    both in the same round: what else the machine does changes from round to round.

    Args:
        turns: functions that train for a while and return on how many slices; they take turns.
        number: turns of each, after one that does not count.
        clock: returns seconds.
        seconds: after which no more turns are taken than two of each.
    """
    found = {name: [] for name in turns}
    began = perf_counter()
    for turn_number in range(number + 1):
        if turn_number > 2 and perf_counter() - began > seconds:
            break
        for name, turn in turns.items():
            started = clock()
            slices = turn()
            found[name].append(slices / (clock() - started))
    first, *_ = found.values()
    return {
        name: median(first[1:]) * median(a / b for a, b in zip(rates[1:], first[1:], strict=True))
        for name, rates in found.items()
    }


def wall_of_gpu() -> float:
    """Return a clock that waits for the GPU."""
    torch.cuda.synchronize()
    return perf_counter()


def begin(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Take `--size`, `--turns` and `--output` as well; train from here on as a job on one core."""
    parser.add_argument("--size", type=int, nargs="+", default=SIZES, help="pixels along a side")
    parser.add_argument("--turns", type=int, default=TURNS, help="turns of steps")
    add_output(parser)
    torch.set_num_threads(1)
    keep_freed_memory()
    return parser.parse_args()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epoch-turns", type=int, default=EPOCH_TURNS, help="turns of epochs")
    arguments, rows = begin(parser), Rows()
    with tempfile.TemporaryDirectory() as folder:
        for size in arguments.size:
            trial = Trial(Path(folder), size)
            for name, turns, number in (
                ("steps", (trial.bare_steps, trial.steps), arguments.turns),
                ("epochs", (trial.bare_epochs, trial.epochs), arguments.epoch_turns),
            ):
                found = images_per_second(
                    dict(zip(("before", "after"), turns, strict=True)), number
                )
                rows.add(f"{name}, {size} px", **found, unit="images/s")
        for size in arguments.size:
            apart = {key: Apart(Path(folder), size, key == "after") for key in ("before", "after")}
            found = images_per_second(
                {key: each.steps for key, each in apart.items()},
                arguments.turns,
                lambda: sum(each.seconds for each in apart.values()),  # noqa: B023
            )
            for each in apart.values():
                each.end()
            rows.add(f"steps with freed memory kept, {size} px", **found, unit="images/s")
        for size in arguments.size:
            for name, setting in SETTINGS.items():
                trials = (Trial(Path(folder), size), Trial(Path(folder), size, **setting))
                turns = {
                    key: trial.steps for key, trial in zip(("before", "after"), trials, strict=True)
                }
                found = images_per_second(turns, arguments.turns)
                rows.add(f"steps with {name}, {size} px", **found, unit="images/s")
    rows.write(arguments.output)


if __name__ == "__main__":
    main()
