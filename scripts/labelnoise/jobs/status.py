"""How far a study is, read off its files alone: nothing is started, locked or changed.

A run is, in the order in which it is asked:

running   a process holds the lock of its training state
finished  it is trained and tested
outdated  it is trained, by another definition of its network or recipe than the config's, so that
          Snakemake trains it again
trained   it is trained; its test is running or still to come
failed    the log of its training or test ends in an error
waiting   none of these; where there is training state, it was interrupted and goes on from there
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from labelnoise.config import expand_runs, load_config
from labelnoise.errors import InputError
from labelnoise.jobs.locks import lock_holders
from labelnoise.slots import slot_ends
from labelnoise.study import results_folder, run_folder, run_name

# The lines that `scripting.logged`, `training.fit` and `resume.StateKeeper` write.
RECORD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ([A-Z]+) (.*)$", re.MULTILINE)
EPOCH = re.compile(r"^epoch (\d+) of \d+: .* ([\d.]+) s$")
RESUMED = re.compile(r"^going on after epoch (\d+) of \d+$")
# The end of a log that is read: some hundred epochs, or any traceback.
TAIL = 1 << 16


@dataclass(frozen=True)
class Holder:
    """The process that trains a run, as it says itself; None for what it does not say.

    `started` is an aware datetime.
    """

    pid: int | None = None
    host: str | None = None
    device: str | None = None
    started: datetime | None = None


@dataclass(frozen=True)
class Failure:
    """A job that ended in an error.

    Attributes:
        rule: the job's rule.
        name: its wildcards, such as phantom/unet/plain/control/rep0.
        log: the file to read on in.
        sentence: what the error says.
        blocked: runs that cannot start without the job.
    """

    rule: str
    name: str
    log: Path
    sentence: str
    blocked: int = 0


@dataclass(frozen=True)
class Run:
    """One run of the matrix.

    Attributes:
        dataset, model, recipe, perturbation, repeat: which one it is.
        state: see the head of this module.
        epochs: epochs that the config wants.
        epoch: the last whole epoch as the log tells it; 0 where it tells none.
        epoch_seconds: seconds of the epochs in its log, if it is running.
        seconds: seconds that its training took, if it is trained as the config wants.
        interrupted: whether a waiting run goes on from an epoch.
        holder: the Holder of a running one.
    """

    dataset: str
    model: str
    recipe: str
    perturbation: str
    repeat: int
    state: str
    epochs: int
    epoch: int = 0
    epoch_seconds: tuple = ()
    seconds: float | None = None
    interrupted: bool = False
    holder: Holder | None = None

    @property
    def name(self):
        """The run's part of every path."""
        return run_name(vars(self))

    @property
    def cell(self):
        """What decides how long a run takes."""
        return (self.dataset, self.model, self.recipe)


@dataclass(frozen=True)
class Rate:
    """Measured seconds: an epoch, a start (of Python and torch, reading data), a test."""

    epoch: float
    start: float = 0.0
    test: float = 0.0


@dataclass(frozen=True)
class Eta:
    """When the runs that are left will be through.

    Attributes:
        seconds: until the last run that can be estimated is tested; None if none can be.
        at_once: runs that are trained at once, as assumed.
        unknown: {cell: runs} of the runs of which nothing was measured.
    """

    seconds: float | None
    at_once: int
    unknown: Counter


@dataclass
class Status:
    """How far a study is.

    Attributes:
        results: its results folder.
        runs: the Run of each run in the matrix, in the config's order.
        failures: the Failures, of runs and of the jobs before and after them.
    """

    results: Path
    runs: list
    failures: list = field(default_factory=list)

    def count(self):
        """Number of runs in each state."""
        return Counter(run.state for run in self.runs)


def read_study(config_files, folder="."):
    """Read a study's config and gather its Status.

    Args:
        config_files: config.yaml and what overlays it, later over earlier.
        folder: where Snakemake runs, which the results folder is relative to.

    Raises:
        InputError: a file is missing or wrong.
    """
    for path in config_files:
        if not Path(path).is_file():
            raise InputError(f"there is no config file {path}; name one such as studies/demo.yaml.")
    config = load_config(*config_files)
    return gather(config, Path(folder, results_folder(config)))


def gather(config, results):
    """Find out how far each run of a completed config is; runs outside its matrix do not count.

    Args:
        config: what `config.complete` returns.
        results: the study's results folder; it need not exist.
    """
    results = Path(results)
    status = Status(results, [])
    # As run.json holds them, which JSON turns some keys of into text.
    definitions = json.loads(json.dumps({key: config[key] for key in ("models", "recipes")}))
    for names in expand_runs(config):
        run, failure = _look_at(names, definitions, results)
        status.runs.append(run)
        status.failures += [failure] if failure else []
    status.failures = [
        *_failures_before(status.runs, results),
        *status.failures,
        *_failures_after(config, results),
    ]
    return status


def lock_holder(path):
    """Give the Holder of a file that a process has locked by `fcntl.lockf`; None if it is free.

    The lock is asked about and never taken, so a job that starts meanwhile is not disturbed.
    """
    try:
        handle = open(path, "rb")  # noqa: SIM115 - the with below closes it
    except (FileNotFoundError, NotADirectoryError):
        return None
    with handle:
        return _holder(handle.read()) if lock_holders(handle) else None


def last_error(path):
    """Give the sentence of the error that a log ends in; None if it ends otherwise or is missing.

    Only the end of a long log is read.
    """
    text = _tail(path)
    records = list(RECORD.finditer(text))
    if not records or records[-1][1] != "ERROR":
        return None
    sentence = text[records[-1].start(2) :].partition("Traceback (most recent call last)")[0]
    return " ".join(sentence.split())


def measure(runs, results):
    """Measure how long runs take that have any work left.

    Returns:
        {cell: Rate}, from trained runs of the cell where there are any, else from the epochs that
        running ones have logged; cells without either are left out.
    """
    cells = {run.cell: [] for run in runs if run.state != "finished"}
    for run in runs:
        if run.cell in cells:
            cells[run.cell].append(run)
    rates = {}
    for cell, mates in cells.items():
        trained = [run for run in mates if run.seconds is not None]
        logged = [seconds for run in mates for seconds in run.epoch_seconds]
        if trained:
            rates[cell] = _rate_of(trained, results)
        elif sum(logged):
            rates[cell] = Rate(_mean(logged))
    return rates


def estimate(runs, rates):
    """Estimate when all runs but the failed ones are trained and tested, given `measure`'s rates.

    As many runs are at work at once as are being trained now, or one; each takes the next run as
    soon as it is through.
    """
    busy, queue, unknown = [], [], Counter()
    for run in runs:
        rate = rates.get(run.cell)
        if run.state in ("finished", "failed"):
            continue
        if rate is None:
            unknown[run.cell] += 1
        elif run.state == "running":
            busy.append((run.epochs - run.epoch) * rate.epoch + rate.test)
        elif run.state == "trained":
            queue.append(rate.test)
        else:
            left = run.epochs - (run.epoch if run.interrupted else 0)
            queue.append(rate.start + left * rate.epoch + rate.test)
    at_once = max(1, sum(run.state == "running" for run in runs))
    seconds = makespan(busy, queue, at_once) if busy or queue else None
    return Eta(seconds, at_once, unknown)


def makespan(busy, queue, at_once):
    """Seconds until all is done: `busy` are at work, `queue` follow in order, `at_once` at a time.

    Args:
        busy, queue: seconds left of each job; at most `at_once` are busy.
        at_once: jobs at a time.
    """
    return max(slot_ends([*busy, *[0.0] * (at_once - len(busy))], queue))


def _look_at(names, definitions, results):
    """Give the Run of one row of the matrix, and its Failure or None."""
    name, folder = run_name(names), run_folder(names, results)
    train_log = results / "logs" / "train_model" / f"{name}.log"
    run = Run(
        **{key: names[key] for key in ("dataset", "model", "recipe", "perturbation", "repeat")},
        state="waiting",
        epochs=definitions["recipes"][names["recipe"]]["epochs"],
    )
    holder = lock_holder(folder / ".state" / "lock")
    if holder:
        epoch, seconds = _progress(train_log)
        run = replace(run, state="running", epoch=epoch, epoch_seconds=tuple(seconds))
        return replace(run, holder=holder), None
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        found = (record["definitions"]["model"], record["definitions"]["recipe"])
        seconds = float(record["seconds"])
    except (FileNotFoundError, NotADirectoryError):
        epoch, _ = _progress(train_log)
        interrupted = (folder / ".state" / "state.pt").exists()
        run = replace(run, interrupted=interrupted, epoch=epoch)
        return _failed_or(run, "train_model", results)
    except (ValueError, KeyError, TypeError):
        sentence = "run.json cannot be read; delete it, so that the run is trained again."
        failure = Failure("train_model", name, folder / "run.json", sentence)
        return replace(run, state="failed"), failure
    if found != (definitions["models"][run.model], definitions["recipes"][run.recipe]):
        return replace(run, state="outdated"), None
    run = replace(run, seconds=seconds)
    if _is_tested(folder):
        return replace(run, state="finished"), None
    return _failed_or(replace(run, state="trained"), "test_model", results)


def _failed_or(run, rule, results):
    """Give the run and None, or the run as failed and its Failure if the rule's log says so."""
    log = results / "logs" / rule / f"{run.name}.log"
    sentence = last_error(log)
    if sentence is None:
        return run, None
    return replace(run, state="failed"), Failure(rule, run.name, log, sentence)


def _is_tested(folder):
    """Whether the test is whole, and of this training, not of one before it."""
    try:
        trained = (folder / "run.json").stat().st_mtime
        return all((folder / name).stat().st_mtime >= trained for name in ("test.csv", "scores.h5"))
    except FileNotFoundError:
        return False


def _progress(log):
    """Give the last whole epoch that a training log tells, and the seconds of its epochs."""
    epoch, seconds = 0, []
    for record in RECORD.finditer(_tail(log)):
        if found := EPOCH.match(record[2]):
            epoch = int(found[1])
            seconds.append(float(found[2]))
        elif found := RESUMED.match(record[2]):
            epoch = int(found[1])
    return epoch, seconds


def _failures_before(runs, results):
    """Failures of the jobs whose files the runs start from, in the order of the jobs."""
    waiting = [run for run in runs if run.state in ("waiting", "outdated")]
    jobs = {
        "prepare_dataset": ("datasets/{}.h5", ("dataset",)),
        "calibrate_perturbation": ("calibration/{}.json", ("dataset", "perturbation")),
        "perturb_labels": ("labels/{}.h5", ("dataset", "perturbation", "repeat")),
    }
    for rule, (output, wildcards) in jobs.items():
        blocked = Counter(
            "/".join(
                f"rep{run.repeat}" if wildcard == "repeat" else getattr(run, wildcard)
                for wildcard in wildcards
            )
            for run in waiting
        )
        for name, number in blocked.items():
            log = results / "logs" / rule / f"{name}.log"
            if (results / output.format(name)).exists():
                continue
            if sentence := last_error(log):
                yield Failure(rule, name, log, sentence, number)


def _failures_after(config, results):
    """Failures of tables and figures, which nothing starts from."""
    known = {name for axis in config["matrix"].values() if isinstance(axis, list) for name in axis}
    logs = results / "logs"
    for pattern in ("summarise_runs", "compare_with_paper", "plot_*"):
        for log in sorted([*logs.glob(f"{pattern}.log"), *logs.glob(f"{pattern}/**/*.log")]):
            rule, *wildcards = log.relative_to(logs).with_suffix("").parts
            if known.issuperset(wildcards) and (sentence := last_error(log)):
                yield Failure(rule, "/".join(wildcards), log, sentence)


def _holder(content):
    """Read what the holder of a lock wrote into it."""
    try:
        said = json.loads(content)
        started = datetime.fromisoformat(said["started"])
        # A time without a zone cannot be compared.
        return Holder(
            int(said["pid"]), str(said["host"]), str(said["device"]), started.astimezone()
        )
    except (ValueError, KeyError, TypeError):
        return Holder()


def _tail(path):
    """The end of a text file; nothing if it is missing."""
    try:
        with open(path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL))
            return file.read().decode("utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _rate_of(trained, results):
    """The Rate of runs that are trained."""
    starts, tests = [], []
    for run in trained:
        whole = _job_seconds(results, "train_model", run)
        # Of an interrupted run it is the last sitting alone, which may be less than all epochs.
        if whole is not None and whole > run.seconds:
            starts.append(whole - run.seconds)
        tested = _job_seconds(results, "test_model", run)
        if tested is not None:
            tests.append(tested)
    epochs = sum(run.epochs for run in trained)
    return Rate(sum(run.seconds for run in trained) / epochs, _mean(starts), _mean(tests))


def _job_seconds(results, rule, run):
    """Seconds of a whole job, as Snakemake measured them; None where it did not."""
    path = results / "benchmarks" / rule / f"{run.name}.jsonl"
    try:
        return float(json.loads(path.read_text().splitlines()[-1])["s"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def _mean(values):
    return sum(values) / len(values) if values else 0.0
