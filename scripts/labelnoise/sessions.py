"""Sessions: single runs by hand, each a study of one run in a results folder of its own.

A session keeps the definitions that it was started with, as a whole configuration beside its run,
and the user's own code that they name, whatever happens to config.yaml. Snakemake runs it like any
other study.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import yaml

from labelnoise.config import complete, load_config
from labelnoise.config.rules import AXES, COMPOSED, TRAINER
from labelnoise.errors import InputError
from labelnoise.files import read_json, whole_file, write_text
from labelnoise.folds import fold_count
from labelnoise.study import Recipe, Results, Run, RunFolder, find_modules, results_of


@dataclass(frozen=True)
class Session:
    """One run of a session.

    Attributes:
        name: the session's name.
        run: its run.
        config: the whole configuration, completed.
        modules: {name: file} of the user's own code that a new session is started with.
    """

    name: str
    run: Run
    config: Mapping[str, Any]
    modules: Mapping[str, Path] = field(default_factory=dict)

    @property
    def results(self) -> Results:
        """The session's own results tree."""
        return results_of(self.config)

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return self.results.run_folder(self.run)

    @property
    def recipe(self) -> Recipe:
        """The run's recipe."""
        return Recipe(**self.config["recipes"][self.run.recipe])

    def has_begun(self) -> bool:
        """Return whether its training has begun."""
        return self.folder.record.exists() or self.folder.saved_state.exists()

    def is_finished(self) -> bool:
        """Return whether the run has been trained for all its epochs."""
        if not self.folder.record.exists():
            return False
        trained = read_json(self.folder.record, ("definitions",))["definitions"]["recipe"]
        return trained["epochs"] == self.recipe.epochs

    def save(self) -> Path:
        """Write the configuration, and a new session's own code beside it; return its file."""
        for path in self.modules.values():
            with whole_file(self.folder.session.with_name(path.name)) as temporary:
                temporary.write_bytes(path.read_bytes())
        write_text(self.folder.session, yaml.safe_dump(dict(self.config), sort_keys=False))
        return self.folder.session

    def lengthened(self, epochs: int) -> Self:
        """Return the session with this many epochs.

        Raises:
            InputError: the run has as many already, or its learning rate has a schedule that ends
                with its epochs.
        """
        if self.is_finished() and epochs <= self.recipe.epochs:
            raise InputError(
                f"session '{self.name}' has been trained for its {self.recipe.epochs} epochs; name "
                f"more with --epochs, or test it: -t -e {self.name}."
            )
        if epochs < self.recipe.epochs:
            raise InputError(
                f"session '{self.name}' was started for {self.recipe.epochs} epochs and can only "
                f"be made longer, not {epochs}."
            )
        if epochs != self.recipe.epochs and self.recipe.schedule and self.recipe.looks_ahead:
            raise InputError(
                f"session '{self.name}' follows the schedule '{self.recipe.schedule['kind']}', "
                f"which ends with its {self.recipe.epochs} epochs; start a new session for "
                f"{epochs}."
            )
        config = deepcopy(dict(self.config))
        config["recipes"][self.run.recipe]["epochs"] = epochs
        return replace(self, config=complete(config))

    def showing(self, visualize: bool) -> Self:
        """Return the session with or without predictions on the arrays in viz/."""
        return replace(self, config={**self.config, "visualize": visualize})


def new_session(
    config: Mapping[str, Any],
    name: str,
    run: Run,
    changes: Mapping[str, Any],
    files: Iterable[Path] = (),
) -> Session:
    """Return a new run of a session; it exists once it is saved.

    Args:
        config: the completed configuration that its definitions come from.
        name: the session's name.
        run: the run.
        changes: keys of the recipe that differ from the configuration's.
        files: those of the configuration, beside which the user's own code is.

    Raises:
        InputError: the name cannot name a folder, a change is out of range, the session has this
            run already, or see `find_modules`.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise InputError(
            f"'{name}' cannot name a session; use letters, digits, '_', '-' and '.', a letter or "
            "digit first."
        )
    for what, own_name, is_for_trainers in (
        ("model", run.model, "trainer" in config["models"][run.model]),
        ("recipe", run.recipe, config["recipes"][run.recipe]["loss"] == TRAINER),
    ):
        if is_for_trainers:
            raise InputError(
                f"{what} '{own_name}' is for trainers, and a session trains a network; name "
                f"another {what}, or let snakemake make the runs of a study."
            )
    folds = fold_count(config["datasets"][run.dataset])
    if folds > 1:
        raise InputError(
            f"dataset '{run.dataset}' has {folds} folds, and a session trains one network; add a "
            "dataset of one of them to the config, with 'fold' beside the keys of its 'split'."
        )
    chosen = {
        section: deepcopy(config[section][getattr(run, axis)]) for axis, section in AXES.items()
    }
    recipe = chosen["recipes"] = {**chosen["recipes"], **changes}
    recipe["keep"] = min(recipe["keep"], recipe["epochs"])
    error = chosen["perturbations"]
    # `of` is another thing in other kinds.
    named = error["of"] if error["kind"] in COMPOSED else ()
    parts = {part: deepcopy(config["perturbations"][part]) for part in named}
    whole = complete(
        {
            **config,
            "session": name,
            "pathvars": {"results": results_of(config).session(name).root.as_posix()},
            **{section: {getattr(run, axis): chosen[section]} for axis, section in AXES.items()},
            "perturbations": {run.perturbation: error, **parts},
            "matrix": {axis: [getattr(run, axis)] for axis in AXES} | {"repeats": run.repeat + 1},
            "claims": {},
            "keep_state": True,
        }
    )
    session = Session(name, run, whole, find_modules(whole, files))
    if session.has_begun():
        raise InputError(
            f"session '{name}' has this run already, in {session.folder.path}; continue it with "
            f"-e {name}, or choose another name."
        )
    return session


def find_session(results: Results, name: str, wanted: Mapping[str, Any]) -> Session:
    """Return the one run of a session that matches.

    Args:
        results: the results tree of the study that it was started from.
        name: the session's name.
        wanted: some of dataset, model, recipe, perturbation and repeat, to choose among several.

    Raises:
        InputError: no session has that name, or not exactly one of its runs matches.
    """
    sessions = list(read_sessions(results))
    runs = [session for session in sessions if session.name == name]
    if not runs:
        known = ", ".join(sorted({session.name for session in sessions})) or "none yet"
        raise InputError(
            f"there is no session '{name}' in {results.sessions}; there are: {known} (a session of "
            "a study is found with the --config that it was started with)."
        )
    fitting = [each for each in runs if wanted.items() <= vars(each.run).items()]
    if len(fitting) != 1:
        listed = "; ".join(" ".join(map(str, vars(each.run).values())) for each in fitting or runs)
        found = "several runs fit" if fitting else "no run fits"
        raise InputError(
            f"in session '{name}' {found}; name dataset, model, recipe, perturbation and repeat "
            f"of one of: {listed}."
        )
    return fitting[0]


def read_sessions(results: Results) -> Iterator[Session]:
    """Yield every run of every session of a study, in the order of their folders."""
    for path in sorted(results.sessions.glob("*")):
        own = results.session(path.name)
        for run in own.made_runs():
            config = own.run_folder(run).session
            if config.exists():
                yield Session(path.name, run, load_config(config))
