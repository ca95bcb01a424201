"""Training that may be stopped at any moment and goes on from its last whole epoch."""

import json
import logging
import os
import platform
import shutil
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from labelnoise.errors import InputError
from labelnoise.files import whole_file
from labelnoise.jobs.locks import hold, take_over

log = logging.getLogger(__name__)

FORMAT = "labelnoise-state"
FORMAT_VERSION = 2


@dataclass
class TrainingState:
    """All that a training needs to go on after an epoch as if it had never stopped.

    The order of the batches and the draws of the labels depend on the epoch alone, so they are not
    part of it.

    Attributes:
        identity: what was trained, see `make_identity`.
        epoch: the last whole epoch.
        network, optimiser: their state_dict.
        generators: states of the loss's generator ("loss") and of torch's own ("torch", "cuda").
        kept: the list of a TopNSaver.
        history, timing: what `fit` returns, so far.
        sittings: a mapping with after_epoch, started and host for each time the training started.
        parts: in how many parts a batch is taken, see `memory`.
        out_of_memory: what was said when it did not fit as a whole, or None.
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
    parts: int
    out_of_memory: str | None

    def save(self, path):
        """Write the state; the file is whole or the one before it."""
        content = {"format": FORMAT, "format_version": FORMAT_VERSION, **vars(self)}
        # Through a file of Python's, which says why a write fails.
        with whole_file(path) as temporary, open(temporary, "wb") as file:
            torch.save(content, file)

    @classmethod
    def load(cls, path):
        """Read a state.

        Raises:
            InputError: the file is not a state of this version.
        """
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            found = (content.pop("format"), content.pop("format_version"))
            if found == (FORMAT, FORMAT_VERSION):
                return cls(**content)
        except Exception as error:
            raise InputError(
                f"{path} cannot be read as training state ({type(error).__name__})."
            ) from error
        raise InputError(f"{path} is of version {found[1]}, expected {FORMAT_VERSION}.")

    def restore(self, network, optimiser, generator, saver):
        """Put everything back; whoever draws from torch's own generators must have done so."""
        network.load_state_dict(self.network)
        optimiser.load_state_dict(self.optimiser)
        saver.kept = self.kept
        generator.set_state(self.generators["loss"])
        torch.set_rng_state(self.generators["torch"])
        if "cuda" in self.generators:
            torch.cuda.set_rng_state(self.generators["cuda"])


def make_identity(names, model, recipe, seed, digests, device):
    """Say what a training is, so that no other one goes on from its state.

    The number of epochs is left out: no epoch depends on how many are to come, so a finished
    training may go on.

    Args:
        names: dataset, model, recipe, perturbation and repeat of the run.
        model, recipe: their definitions.
        seed: the training seed.
        digests: {"dataset": ..., "labels": ...}, of the files.
        device: "cpu" or "cuda", since their random numbers differ.

    Returns:
        A mapping of what to JSON text.
    """
    parts = {
        "names": {name: str(value) for name, value in names.items()},
        "model": model,
        "recipe": {key: value for key, value in recipe.items() if key != "epochs"},
        "seed": seed,
        "dataset file": digests["dataset"],
        "label file": digests["labels"],
        "device": device,
    }
    return {name: json.dumps(value, sort_keys=True) for name, value in parts.items()}


class StateKeeper:
    """Keeps the state of one run in a folder of its own, which one process at a time may hold.

    Kept checkpoints lie beside the state until the run is complete, since Snakemake deletes the
    outputs that a rule declares before it starts a job. Use it as a context manager.

    Attributes:
        folder: the folder.
        state: the TrainingState found there, or None.
        parts, out_of_memory: see TrainingState; 1 and None until `split`.
        sittings: see TrainingState; the last entry is this process's.
    """

    def __init__(self, folder, identity, epochs, device="cpu", study=None):
        """Name the folder.

        Args:
            folder: it is made if need be.
            identity: see `make_identity`; a state of another training is set aside.
            epochs: epochs of this training; a state that is past them is set aside as well.
            device: label of the device, for those who look at the lock.
            study: results folder of the study whose Snakemake asks for the training, which may
                take it over from a process that another one left behind, see `locks.take_over`.
        """
        self.device, self.study = device, study
        self.folder, self.identity, self.epochs = Path(folder), identity, epochs
        self.path = self.folder / "state.pt"

    def __enter__(self):
        """Lock the folder and read what is in it.

        Raises:
            InputError: another process holds the folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.study:
            take_over(self.folder / "lock", self.study)
        holds = f"the training of {self.folder.parent}"
        self._lock = hold(self.folder / "lock", holds, device=self.device)
        self._clear()
        self.reload()
        earlier = self.state.sittings if self.state else []
        done = self.state.epoch if self.state else 0
        if self.state:
            log.info("going on after epoch %d of %d", done, self.epochs)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        sitting = {"after_epoch": done, "started": now, "host": platform.node()}
        self.sittings = [*earlier, sitting]
        return self

    def reload(self, parts=None, out_of_memory=None):
        """Read the last whole epoch's state again, to go on with a batch in so many parts."""
        self.state = self._read()
        if parts is not None:
            self.parts, self.out_of_memory = parts, out_of_memory
        elif self.state:
            self.parts, self.out_of_memory = self.state.parts, self.state.out_of_memory
        else:
            self.parts, self.out_of_memory = 1, None

    def __exit__(self, *failure):
        self._lock.close()

    def write(self, history, timing, network, optimiser, generator, saver):
        """Store the state after a whole epoch; the arguments are those of `fit`."""
        generators = {"loss": generator.get_state(), "torch": torch.get_rng_state()}
        if generator.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state()
        TrainingState(
            self.identity,
            len(history),
            network.state_dict(),
            optimiser.state_dict(),
            generators,
            saver.kept,
            history,
            timing,
            self.sittings,
            self.parts,
            self.out_of_memory,
        ).save(self.path)

    def remove(self):
        """Delete the folder, once the run is complete."""
        shutil.rmtree(self.folder)

    def _clear(self):
        """Delete what a killed process left half-written, here and in the run folder above."""
        for place in (self.folder, self.folder.parent):
            for part in place.glob(".*.part-*"):
                if part.is_dir():
                    shutil.rmtree(part)
                else:
                    part.unlink()

    def _read(self):
        """Give the state if it is this training's; set any other one aside."""
        if not self.path.exists():
            return None
        try:
            state = TrainingState.load(self.path)
        except InputError as error:
            return self._set_aside(str(error))
        different = [name for name in self.identity if state.identity[name] != self.identity[name]]
        if different:
            return self._set_aside(f"{self.path} is of another {' and '.join(different)}.")
        if state.epoch > self.epochs:
            return self._set_aside(f"{self.path} is past epoch {self.epochs}.")
        return state

    def _set_aside(self, why):
        aside = self.folder.with_name(f"{self.folder.name}-aside")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        # The state first: checkpoints without it are swept away.
        for path in [self.path, *self.folder.glob("epoch*.pt")]:
            os.replace(path, aside / path.name)
        log.warning("%s It is set aside as %s, and training starts anew.", why, aside)


@contextmanager
def ended_by_sigterm():
    """Let SIGTERM end the process with exit code 143, cleaning up on the way out.

    The state of the last whole epoch is on the disk already. Outside the main thread, where Python
    takes no signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number, frame):
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        log.warning("stopped; the training can go on from its last whole epoch")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
