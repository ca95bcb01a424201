"""Sessions: runs by hand, without Snakemake, in folders laid out like a study's results.

The session NAME is the folder <results>/sessions/NAME. In it, as in the study's results, lie
runs/{dataset}/{model}/{recipe}/{perturbation}/rep{repeat}/ and labels/.
"""

import json
import logging
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from labelnoise.errors import InputError
from labelnoise.evaluation.tables import runs_table
from labelnoise.files import whole_file
from labelnoise.inputs import ready_inputs
from labelnoise.study import run_folder

log = logging.getLogger(__name__)

RUN = "runs/*/*/*/*/rep*/session.json"


@dataclass(frozen=True)
class Session:
    """One run of a session.

    Attributes:
        results: the study's results folder.
        name: the session's name.
        names: dataset, model, recipe, perturbation and repeat.
        definitions: those of dataset, model, recipe and perturbation; the session keeps them,
            whatever becomes of the config.
        seed: the study's seed.
    """

    results: Path
    name: str
    names: dict
    definitions: dict
    seed: int

    @property
    def root(self):
        """The session's folder, laid out like a study's results."""
        return session_folder(self.results, self.name)

    @property
    def folder(self):
        """The run's folder."""
        return run_folder(self.names, self.root)

    @property
    def epochs(self):
        """Epochs that the run shall have."""
        return self.definitions["recipe"]["epochs"]

    def save(self):
        """Write the session's own record, session.json."""
        content = {
            "session": self.name,
            "names": self.names,
            "definitions": self.definitions,
            "seed": self.seed,
        }
        with whole_file(self.folder / "session.json") as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")

    def is_finished(self):
        """Whether the run has all its epochs."""
        path = self.folder / "run.json"
        if not path.exists():
            return False
        return json.loads(path.read_text())["definitions"]["recipe"]["epochs"] == self.epochs

    def lengthened(self, epochs):
        """Give the session with more epochs; its test results, of fewer, are deleted.

        Raises:
            InputError: the epochs are not more than the run has.
        """
        if self.is_finished() and epochs <= self.epochs:
            raise InputError(
                f"session '{self.name}' has had its {self.epochs} epochs; name more with --epochs, "
                f"or test it: -t -e {self.name}."
            )
        if epochs < self.epochs:
            raise InputError(
                f"session '{self.name}' was started for {self.epochs} epochs and can only be made "
                f"longer, not {epochs}."
            )
        for name in ("test.csv", "scores.h5"):
            (self.folder / name).unlink(missing_ok=True)
        recipe = {**self.definitions["recipe"], "epochs": epochs}
        definitions = {**self.definitions, "recipe": recipe}
        longer = Session(self.results, self.name, self.names, definitions, self.seed)
        longer.save()
        return longer

    def inputs(self, workers=1):
        """Give the run's files, see `ready_inputs`, and note in the session what its labels are."""
        roots = [self.results, self.root]
        inputs = ready_inputs(roots, self.names, self.definitions, self.seed, workers)
        measured = self.root / inputs.measured.relative_to(
            self.root if inputs.measured.is_relative_to(self.root) else self.results
        )
        if measured != inputs.measured:
            with whole_file(measured) as temporary:
                shutil.copyfile(inputs.measured, temporary)
        return inputs


def session_folder(results, name):
    """The folder of a session below a study's results."""
    return Path(results, "sessions", name)


def start_session(results, name, names, definitions, seed):
    """Give a new run of a session; it exists once it is saved.

    Args:
        results: the study's results folder.
        name: the session's name.
        names, definitions, seed: see Session.

    Raises:
        InputError: the name cannot be a folder's, or the session has this run already.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise InputError(
            f"'{name}' cannot name a session; use letters, digits, '_', '-' and '.', a letter or "
            "digit first."
        )
    session = Session(Path(results), name, names, definitions, seed)
    if (session.folder / "session.json").exists():
        raise InputError(
            f"session '{name}' has this run already, in {session.folder}; continue it with "
            f"-e {name}, or choose another name."
        )
    return session


def find_session(results, name, wanted):
    """Find the one run of a session that fits.

    Args:
        results: the study's results folder.
        name: the session's name.
        wanted: some of dataset, model, recipe, perturbation and repeat, to choose among several.

    Raises:
        InputError: no session has that name, or not exactly one run of it fits.
    """
    sessions = read_sessions(results)
    if name not in {session.name for session in sessions}:
        known = ", ".join(sorted({session.name for session in sessions})) or "none yet"
        raise InputError(
            f"there is no session '{name}' in {Path(results, 'sessions')}; there are: {known} (a "
            "session of a study is found with the --config that it was started with)."
        )
    runs = [session for session in sessions if session.name == name]
    fitting = [run for run in runs if wanted.items() <= run.names.items()]
    if len(fitting) != 1:
        listed = "; ".join(" ".join(map(str, run.names.values())) for run in fitting or runs)
        found = "several runs fit" if fitting else "no run fits"
        raise InputError(
            f"in session '{name}' {found}; name dataset, model, recipe, perturbation and repeat "
            f"of one of: {listed}."
        )
    return fitting[0]


def read_sessions(results):
    """List every run of every session, in the order of their folders."""
    sessions = []
    for path in sorted(Path(results, "sessions").glob(f"*/{RUN}")):
        content = json.loads(path.read_text())
        sessions.append(
            Session(
                Path(results),
                content["session"],
                content["names"],
                content["definitions"],
                content["seed"],
            )
        )
    return sessions


def sessions_table(results):
    """Read the scores of every session that was tested.

    Returns:
        DataFrame, as `tables.runs_table` gives it for the study's runs, so the two can be set
        together. `recipe` reads "NAME: recipe", since a session may have changed the recipe's
        batch size or epochs and must not be averaged with the study's runs.

    Raises:
        InputError: there is no tested session, or a file is wrong, see `runs_table`.
    """
    tables = []
    for session in read_sessions(results):
        if (session.folder / "test.csv").exists():
            table = runs_table([session.names], session.root)
            table["recipe"] = f"{session.name}: " + table["recipe"]
            tables.append(table)
    if not tables:
        raise InputError(
            f"no session in {Path(results, 'sessions')} was tested; test one: -t -e NAME."
        )
    return pd.concat(tables, ignore_index=True)
