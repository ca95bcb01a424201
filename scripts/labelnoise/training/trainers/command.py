"""A trainer that is any program: `trainer: command`."""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from labelnoise.training.trainers.outcome import Outcome
from labelnoise.training.trainers.work import Work


def train_by_command(
    work: Work, settings: Mapping[str, str], seed: int, device: str, name: str
) -> Outcome:
    """Run a command that trains on `work.dataset` and writes into `work.output`.

    Args:
        work: its folder. After an interruption it is started again, and finds there what it left.
        settings: of the model: `command`.
        seed: the training seed.
        device: "cpu" or "cuda".
        name: of the model.

    Raises:
        InputError: see `Work.run`.
    """
    places: dict[str, Path | str | int] = {"device": device, "seed": seed}
    places |= {"dataset": work.dataset, "output": work.output}
    words = command_words(settings["command"], places)
    work.run(words, f"the command of model '{name}'", os.environ)
    return Outcome(seconds=[work.seconds])


def command_words(command: str, places: Mapping[str, Path | str | int]) -> list[str]:
    """Return the words of a command, with its placeholders filled.

    `python` as the first word is the Python that runs this, so that the command sees the same
    packages.
    """
    # The words first: a path may hold blanks.
    words = [word.format(**places) for word in shlex.split(command)]
    if words[0] == "python":
        words[0] = sys.executable
    return words
