"""Training that can be stopped at any moment and goes on from its last whole epoch."""

import json
import logging
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch.optim.lr_scheduler import LRScheduler

from labelnoise.errors import InputError
from labelnoise.files import write_json
from labelnoise.jobs.locks import is_abandoned
from labelnoise.jobs.signals import ended_by
from labelnoise.study import RunFolder, Task
from labelnoise.training.archive import read_archive, write_archive
from labelnoise.training.checkpoints import TopNSaver
from labelnoise.training.provenance import begin_sitting

log = logging.getLogger(__name__)

FORMAT = "labelnoise-state"
FORMAT_VERSION = 3


@dataclass
class TrainingState:
    """What a training needs to go on after an epoch as if it had never stopped.

    The order of the batches and the draws of the labels depend on the epoch alone, so they are not
    part of it.

    Attributes:
        identity: what was trained, see `make_identity`.
        epoch: the last whole epoch.
        network, optimiser: their state_dict.
        generators: states of the loss's generator ("loss") and of torch's own ("torch", "cuda").
        kept: the list of a TopNSaver.
        history, timing: what `fit` returns, so far.
        sittings: what `begin_sitting` returned, each time that the training started.
        schedule: state_dict of the learning rate's schedule, or None.
        loss: state_dict of the loss; empty, or None, for one that learns nothing.
    """

    identity: dict
    epoch: int
    network: dict
    optimiser: dict
    generators: dict
    kept: list
    history: list
    timing: list
    sittings: list
    schedule: dict | None = None
    loss: dict | None = None

    def save(self, path: Path) -> None:
        """Write the state; the file is whole or the one before it."""
        content = {"format": FORMAT, "format_version": FORMAT_VERSION, **vars(self)}
        write_archive(path, content)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a state.

        Raises:
            InputError: the file is damaged, or not a state of this version.
        """
        try:
            content = read_archive(path)
            found = (content.pop("format"), content.pop("format_version"))
            if found == (FORMAT, FORMAT_VERSION):
                return cls(**content)
        except InputError as error:
            raise InputError(f"{path} cannot be read as training state: it {error}.") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is no training state ({error}).") from error
        raise InputError(f"{path} is of version {found[1]}, expected {FORMAT_VERSION}.")

    def restore(
        self,
        network: torch.nn.Module,
        optimiser: torch.optim.Optimizer,
        generator: torch.Generator,
        saver: TopNSaver,
        schedule: LRScheduler | None,
        loss: torch.nn.Module,
    ) -> None:
        """Put everything back, torch's own generators too: nothing may draw from them meanwhile."""
        network.load_state_dict(self.network)
        # After the schedule was made, which sets the learning rate of the first epoch.
        optimiser.load_state_dict(self.optimiser)
        if schedule is not None:
            schedule.load_state_dict(self.schedule)
        loss.load_state_dict(self.loss or {})
        saver.kept = self.kept
        generator.set_state(self.generators["loss"])
        torch.set_rng_state(self.generators["torch"])
        if "cuda" in self.generators:
            torch.cuda.set_rng_state(self.generators["cuda"])


def make_identity(task: Task, seed: int, digests: dict[str, str], device: str) -> dict[str, str]:
    """Return what identifies a training, so that no other one goes on from its state.

    The number of epochs is left out where no epoch depends on how many are to come, so that a
    finished training may go on.

    Args:
        task: the training.
        seed: the training seed.
        digests: {"dataset": ..., "labels": ...}, of the files.
        device: "cpu" or "cuda", since their random numbers differ.

    Returns:
        {what: its value as JSON}.
    """
    recipe = task.recipe.as_dict()
    if not task.recipe.looks_ahead:
        recipe.pop("epochs", None)
    parts = {
        "run": task.run.name,
        "model": task.model.as_dict(),
        "recipe": recipe,
        "seed": seed,
        "dataset file": digests["dataset"],
        "label file": digests["labels"],
        "device": device,
    }
    return {name: json.dumps(value, sort_keys=True) for name, value in parts.items()}


class StateKeeper:
    """Keeps the state of one run in a folder of its own, whose lock the caller holds.

    Kept checkpoints are beside the state until the run is complete, since Snakemake deletes the
    declared outputs of a rule before it starts a job.

    Attributes:
        folder: the folder.
        state: the TrainingState found there, or None.
        sittings: see TrainingState; the last entry is this process's.
    """

    def __init__(self, run_folder: RunFolder, identity: dict[str, str], epochs: int):
        """Read what is in the folder.

        Args:
            run_folder: the run's folder.
            identity: see `make_identity`; a state of another training is set aside.
            epochs: epochs of this training; a state that is past them is set aside as well.
        """
        self.folder, self.identity, self.epochs = run_folder.state, identity, epochs
        self.path, self._progress = run_folder.saved_state, run_folder.progress
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state = self._read()
        earlier = self.state.sittings if self.state else []
        done = self.state.epoch if self.state else 0
        if self.state:
            log.info("going on after epoch %d of %d", done, self.epochs)
        self.sittings = [*earlier, begin_sitting(done)]
        self._write_progress(self.state.timing if self.state else [])

    def write(
        self,
        history: list[dict[str, Any]],
        timing: list[dict[str, Any]],
        network: torch.nn.Module,
        optimiser: torch.optim.Optimizer,
        generator: torch.Generator,
        saver: TopNSaver,
        schedule: LRScheduler | None,
        loss: torch.nn.Module,
    ) -> None:
        """Store the state after a whole epoch, and how far the training has come.

        Args:
            history, timing: see TrainingState.
            network, optimiser, saver, schedule, loss: as they are after the epoch.
            generator: the loss's.
        """
        generators = {"loss": generator.get_state(), "torch": torch.get_rng_state()}
        if generator.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state()
        TrainingState(
            identity=self.identity,
            epoch=len(history),
            network=network.state_dict(),
            optimiser=optimiser.state_dict(),
            generators=generators,
            kept=saver.kept,
            history=history,
            timing=timing,
            sittings=self.sittings,
            schedule=None if schedule is None else schedule.state_dict(),
            loss=dict(loss.state_dict()),
        ).save(self.path)
        self._write_progress(timing)

    def _write_progress(self, timing: list[dict[str, Any]]) -> None:
        """Write how far the training has come, for the status page."""
        seconds = sum(epoch["train"] + epoch["validation"] for epoch in timing)
        progress = {"epoch": len(timing), "epochs": self.epochs, "seconds": round(seconds, 3)}
        write_json(self._progress, progress)

    def remove(self) -> None:
        """Delete the folder, once the run is complete."""
        # NFS keeps the lock file in it until the file is closed.
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self) -> TrainingState | None:
        """Return the state if it is this training's; set any other one aside."""
        if not self.path.exists():
            return None
        try:
            state = TrainingState.load(self.path)
            self._check(state)
        except InputError as error:
            self._set_aside(str(error))
            return None
        return state

    def _check(self, state: TrainingState) -> None:
        different = [
            name for name in self.identity if state.identity.get(name) != self.identity[name]
        ]
        if different:
            raise InputError(f"{self.path} is of another {' and '.join(different)}.")
        if state.epoch > self.epochs:
            raise InputError(f"{self.path} is past epoch {self.epochs}.")

    def _set_aside(self, why: str) -> None:
        aside = self.folder.with_name(f"{self.folder.name}-aside")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        # The state first: checkpoints without it are deleted as leftovers.
        for path in [self.path, *self.folder.glob("epoch*.pt")]:
            os.replace(path, aside / path.name)
        log.warning("%s It is set aside as %s, and training starts anew.", why, aside)


def leave_if_abandoned() -> None:
    """End the process if the Snakemake that started it has ended, or another has its study.

    Raises:
        SystemExit: it has. What the training needs to go on is on the disk.
    """
    if is_abandoned():
        log.warning("the snakemake that started this training has ended, so it ends as well")
        raise SystemExit(1)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the process with exit code 143, cleaning up on the way out.

    The state of the last whole epoch is on the disk already.
    """
    try:
        with ended_by(signal.SIGTERM):
            yield
    except (SystemExit, KeyboardInterrupt):
        log.warning("stopped; the training can go on from its last whole epoch")
        raise
