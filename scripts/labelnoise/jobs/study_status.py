"""How far a study has come, read from its files alone: nothing is started, locked or changed.

One file may be written: which source files were read once more, see `manifest.source_state`.

The state of a run is the first of these that applies:

running   a process holds the lock of its training state
finished  it is trained, and tested with the config's tolerances
outdated  it is trained, but its definitions, seed, labels, dataset, source data or the user's own
          code have changed, so that Snakemake trains it again
trained   it is trained; its test is running or still to come
failed    the log of its training or test ends in an error
stopped   its training has begun, no process trains it, and no Snakemake holds the study
waiting   none of these; if its training has begun, it was interrupted and will go on
"""

import csv
import difflib
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from labelnoise.consistency import definition_facts, differences, label_facts, misfits
from labelnoise.errors import InputError
from labelnoise.files import read_json
from labelnoise.folds import base_of
from labelnoise.jobs.locks import Holder, holder_of
from labelnoise.jobs.script import last_error
from labelnoise.jobs.staleness import Staleness
from labelnoise.study import JOBS, RECIPE_ADDITIONS, Model, Recipe, Results, Run, RunFolder, Study

# Rules that make tables and figures, which no run waits for.
SUMMARIES = (
    "summarise_runs",
    "compare_*",
    "estimate_ceiling",
    "judge_claims",
    "plot_*",
    "write_answer",
)


@dataclass(frozen=True)
class Progress:
    """How far a training has come, as it writes after every epoch.

    Attributes:
        epoch: whole epochs done.
        epochs: epochs that it was started for.
        seconds: seconds that all epochs so far took.
    """

    epoch: int
    epochs: int
    seconds: float

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read the file that `training.state.StateKeeper` writes; None where there is none."""
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            return cls(int(said["epoch"]), int(said["epochs"]), float(said["seconds"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True)
class RunStatus:
    """How far one run of the matrix has come.

    Attributes:
        run: the run.
        state: see the docstring of this module.
        epochs: epochs that the config wants.
        progress: how far its training has come, if one has begun and the run is not complete.
        seconds: seconds that its training took, if it is trained as the config says.
        holder: the process that trains it, if it is running.
    """

    run: Run
    state: str
    epochs: int
    progress: Progress | None = None
    seconds: float | None = None
    holder: Holder | None = None

    @property
    def epochs_left(self) -> int:
        """Epochs still to be trained."""
        done = self.progress.epoch if self.progress and self.state != "outdated" else 0
        return max(0, self.epochs - done)


@dataclass(frozen=True)
class Failure:
    """A job that ended in an error.

    Attributes:
        rule: the job's rule.
        name: its wildcards, such as phantom/unet/plain/control/rep0.
        log: the file that tells more.
        sentence: what the error says.
        blocked: runs that cannot start without the job.
    """

    rule: str
    name: str
    log: Path
    sentence: str
    blocked: int = 0


@dataclass
class StudyStatus:
    """How far a study has come.

    Attributes:
        results: its results tree.
        runs: the RunStatus of each run of the matrix, in the config's order.
        failures: jobs that failed, of runs and of the jobs before and after them.
        mixed: runs that do not match the others of their setting or the config, and how.
        maker: the Snakemake that holds the study, if one does.
    """

    results: Results
    runs: list[RunStatus]
    failures: list[Failure] = field(default_factory=list)
    mixed: list[tuple[Run, str]] = field(default_factory=list)
    maker: Holder | None = None

    def count(self) -> Counter[str]:
        """Return the number of runs in each state."""
        return Counter(status.state for status in self.runs)

    def those(self, state: str) -> list[RunStatus]:
        """Return the runs in a state."""
        return [status for status in self.runs if status.state == state]


def look_at(study: Study) -> StudyStatus:
    """Find out how far each run of a study has come; runs outside its matrix do not count.

    The results folder need not exist.
    """
    survey = _Survey(study)
    runs = [survey.look_at(run) for run in study.runs]
    failures = [
        *_failures_before(runs, study),
        *survey.failures,
        *_failures_after(study),
    ]
    mixed = [*survey.outdated, *misfits(survey.records)]
    return StudyStatus(study.results, runs, failures, mixed, survey.maker)


def choose_finished(status: StudyStatus, name: str | None = None) -> Run:
    """Return a finished run of a study.

    Args:
        status: what `look_at` returns.
        name: the run, such as phantom/unet/plain/control/rep0; None chooses one at random.

    Raises:
        InputError: no run is finished, or the named one is not, or is none of the study's.
    """
    finished = {each.run.name: each.run for each in status.those("finished")}
    root = status.results.root
    if name is None:
        if not finished:
            raise InputError(
                f"no run in {root} is finished; let snakemake train and test one first, and see "
                "make status."
            )
        return random.choice(list(finished.values()))
    states = {each.run.name: each.state for each in status.runs}
    if name not in states:
        near = difflib.get_close_matches(name, states, n=3) or list(finished or states)[:3]
        raise InputError(
            f"the study has no run {name!r}; name one such as {', '.join(near)}, or none to choose "
            "a finished one at random."
        )
    if states[name] == "outdated":
        how = next(text for run, text in status.mixed if run.name == name)
        raise InputError(
            f"{name} is not of the study as it is now: {how}; restore that, or let snakemake train "
            "it again."
        )
    if name not in finished:
        wanted = status.results.run_folder(Run.parse(name)).counts
        others = f" finished are {', '.join(list(finished)[:3])}" if finished else ""
        also = f" and {len(finished) - 3} more" if len(finished) > 3 else ""
        raise InputError(
            f"{name} is not finished but {states[name]}; let snakemake make {wanted}"
            f"{', or name another run:' + others + also if finished else ''}."
        )
    return finished[name]


class _Survey:
    """Looks at runs one by one, and collects failures, outdated runs and records."""

    def __init__(self, study: Study):
        self.study, self.results = study, study.results
        self.maker = holder_of(study.results.lock)
        self.staleness = Staleness(study)
        self.failures: list[Failure] = []
        self.outdated: list[tuple[Run, str]] = []
        # As run.json would hold them: JSON has only text as keys, and no tuples.
        self.models = {name: _as_json(model) for name, model in study.models.items()}
        self.recipes = {name: _as_json(recipe) for name, recipe in study.recipes.items()}
        # Of runs that are trained as the config says.
        self.records: dict[Run, dict[str, Any]] = {}

    def look_at(self, run: Run) -> RunStatus:
        folder = self.results.run_folder(run)
        epochs = self.study.models[run.model].epochs(self.study.recipes[run.recipe])
        progress = Progress.read(folder.progress)
        if holder := holder_of(folder.lock):
            return RunStatus(run, "running", epochs, progress, holder=holder)
        if not folder.record.exists():
            begun = progress is not None and self.maker is None
            state = self._failed(run, "train_model") or ("stopped" if begun else "waiting")
            return RunStatus(run, state, epochs, progress)
        try:
            record = read_json(folder.record)
            seconds = float(record["seconds"])
            changed = self._other_definition(run, record) or self.staleness.of_run(run, record)
        except (ValueError, KeyError, TypeError, AttributeError):
            sentence = "run.json is damaged; delete it, so that the run is trained again."
            self.failures.append(Failure("train_model", run.name, folder.record, sentence))
            return RunStatus(run, "failed", epochs)
        if changed:
            self.outdated.append((run, changed))
            return RunStatus(run, "outdated", epochs)
        self.records[run] = record
        tested = "finished" if _is_tested(folder, self.study.tolerances) else None
        state = tested or self._failed(run, "test_model") or "trained"
        return RunStatus(run, state, epochs, seconds=seconds)

    def _failed(self, run: Run, rule: str) -> str | None:
        """Return "failed", and note the failure, if the log of the rule's job ends in an error."""
        log = self.results.fill(self.results.log(rule), run)
        sentence = last_error(log)
        if sentence is None:
            return None
        self.failures.append(Failure(rule, run.name, log, sentence))
        return "failed"

    def _label_facts(self, run: Run) -> dict[str, str]:
        """Return which of the user's own code draws the run's labels."""
        error = self.study.perturbations[run.perturbation]
        return label_facts({"kind": error.kind, "code": error.code} if error.code else None)

    def _other_definition(self, run: Run, record: Mapping[str, Any]) -> str | None:
        """Return how the definitions in a run.json differ from the config's, by value."""
        found = record["definitions"]
        wanted = {"model": self.models[run.model], "recipe": self.recipes[run.recipe]}
        own, own_wanted = label_facts(record.get("label_kind")), self._label_facts(run)
        try:
            recipes = Recipe(**found["recipe"]), Recipe(**wanted["recipe"])
            # What a version with fewer keys did not know is not taken for what it is by default.
            keys = [{*each["recipe"]} - {*RECIPE_ADDITIONS} for each in (found, wanted)]
            are_equal = recipes[0] == recipes[1] and keys[0] == keys[1] and own == own_wanted
        except TypeError:  # written by a version with other keys
            are_equal = False
        if are_equal and Model.of(found["model"]) == Model.of(wanted["model"]):
            return None
        facts = definition_facts(found) | own, definition_facts(wanted) | own_wanted
        return f"{differences(*facts)} in the config"


def _as_json(definition: Model | Recipe) -> dict[str, Any]:
    return json.loads(json.dumps(definition.as_dict()))


def _is_tested(folder: RunFolder, tolerances: Mapping[str, float]) -> bool:
    """Return whether the test is whole, of this training, not an earlier one, and as configured."""
    try:
        trained = folder.record.stat().st_mtime
        if any(path.stat().st_mtime < trained for path in folder.tested):
            return False
        with open(folder.surfaces, encoding="utf-8", newline="") as file:
            used = {(row["structure"], float(row["tolerance"])) for row in csv.DictReader(file)}
    except FileNotFoundError:
        return False
    except (KeyError, ValueError, TypeError):
        # Damaged, which the job says that reads it.
        return True
    return all(tolerances.get(name, tolerances["*"]) == tolerance for name, tolerance in used)


def _failures_before(runs: list[RunStatus], study: Study) -> Iterator[Failure]:
    """Yield failures of the jobs whose files the runs need, in the order of the jobs."""
    waiting = [status.run for status in runs if status.state in ("waiting", "outdated")]
    results = study.results
    outputs = {
        "prepare_dataset": results.dataset,
        "prepare_given": results.given,
        "calibrate_perturbation": results.calibration,
        "perturb_labels": results.labels,
    }
    for rule, output in outputs.items():
        blocked: dict[str, tuple[dict[str, str], list[Run]]] = {}
        for run in waiting:
            for names in _jobs_of(rule, run, study):
                name = JOBS[rule].format(**names)
                blocked.setdefault(name, (names, []))[1].append(run)
        for name, (names, those) in blocked.items():
            log = results.fill(results.log(rule), names)
            if results.fill(output, names).exists():
                continue
            if sentence := last_error(log):
                yield Failure(rule, name, log, sentence, len(those))


def _jobs_of(rule: str, run: Run, study: Study) -> list[dict[str, str]]:
    """Return the wildcards of a rule's jobs that a run needs."""
    names = {key: str(value) for key, value in asdict(run).items()}
    if rule != "prepare_given":
        return [names]
    # One for all folds of a dataset.
    of_all = {"dataset": base_of(run.dataset)}
    return [names | of_all | {"perturbation": each} for each in study.given_in(run.perturbation)]


def _failures_after(study: Study) -> Iterator[Failure]:
    """Yield failures of tables, ceilings and figures, which no training needs."""
    known = {name for names in study.matrix.values() for name in names} | set(study.folds)
    logs = study.results.log(SUMMARIES[0]).parent
    for rules in SUMMARIES:
        for log in sorted([*logs.glob(f"{rules}.log"), *logs.glob(f"{rules}/**/*.log")]):
            rule, *wildcards = log.relative_to(logs).with_suffix("").parts
            if known.issuperset(wildcards) and (sentence := last_error(log)):
                yield Failure(rule, "/".join(wildcards), log, sentence)
