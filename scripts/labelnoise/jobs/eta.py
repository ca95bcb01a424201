"""When a study will be finished, estimated from the runs so far."""

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from labelnoise.jobs.study_status import RunStatus
from labelnoise.study import Results

Setting = tuple[str, str, str]


@dataclass(frozen=True)
class Rate:
    """Measured seconds: per epoch, per start (Python, torch, reading data), per test."""

    epoch: float
    start: float = 0.0
    test: float = 0.0


@dataclass(frozen=True)
class Eta:
    """When the remaining runs will be finished.

    Attributes:
        seconds: until the last run that can be estimated is tested; None if none can be.
        at_once: how many runs are assumed to be trained at once.
        unknown: {setting: number of runs} of which nothing was measured.
    """

    seconds: float | None
    at_once: int
    unknown: Counter[Setting]


def measure(runs: Iterable[RunStatus], results: Results) -> dict[Setting, Rate]:
    """Measure how long runs take, for each setting with work left.

    Returns:
        {setting: Rate}, from trained runs of the setting if there are any, else from the epochs of
        its unfinished ones; settings without either are left out.
    """
    settings: dict[Setting, list[RunStatus]] = {}
    for status in runs:
        settings.setdefault(status.run.setting, []).append(status)
    rates = {}
    for setting, mates in settings.items():
        if all(status.state == "finished" for status in mates):
            continue
        trained = [(status, status.seconds) for status in mates if status.seconds is not None]
        begun = [status.progress for status in mates if status.progress]
        epochs = sum(progress.epoch for progress in begun)
        if trained:
            rates[setting] = _rate_of(trained, results)
        elif epochs:
            rates[setting] = Rate(sum(progress.seconds for progress in begun) / epochs)
    return rates


def estimate(runs: Iterable[RunStatus], rates: Mapping[Setting, Rate]) -> Eta:
    """Estimate when all runs but the failed ones are trained and tested.

    As many runs are assumed to be trained at once as are now, and at least one; the next run starts
    as soon as one is finished.

    Args:
        runs: the runs of a study.
        rates: what `measure` returns.
    """
    busy: list[float] = []
    queue: list[float] = []
    unknown: Counter[Setting] = Counter()
    at_once = 0
    for status in runs:
        rate = rates.get(status.run.setting)
        at_once += status.state == "running"
        if status.state in ("finished", "failed"):
            continue
        if rate is None:
            unknown[status.run.setting] += 1
        elif status.state == "running":
            busy.append(status.epochs_left * rate.epoch + rate.test)
        elif status.state == "trained":
            queue.append(rate.test)
        else:
            queue.append(rate.start + status.epochs_left * rate.epoch + rate.test)
    at_once = max(1, at_once)
    seconds = makespan(busy, queue, at_once) if busy or queue else None
    return Eta(seconds, at_once, unknown)


def makespan(busy: Sequence[float], queue: Iterable[float], at_once: int) -> float:
    """Return the seconds until all jobs are done.

    Args:
        busy: seconds left of the running jobs, at most `at_once` of them.
        queue: seconds of the jobs to come; in this order, each takes the first free slot.
        at_once: number of slots.
    """
    slots = [*busy, *[0.0] * (at_once - len(busy))]
    heapq.heapify(slots)
    for seconds in queue:
        heapq.heapreplace(slots, slots[0] + seconds)
    return max(slots)


def _rate_of(trained: Sequence[tuple[RunStatus, float]], results: Results) -> Rate:
    """Return the Rate of trained runs, each given with the seconds of its epochs."""
    starts, tests = [], []
    for status, seconds in trained:
        whole = job_seconds(results.fill(results.benchmark("train_model"), status.run))
        # An interrupted run has that of its last sitting, which may be less than its epochs took.
        if whole is not None and whole > seconds:
            starts.append(whole - seconds)
        tested = job_seconds(results.fill(results.benchmark("test_model"), status.run))
        if tested is not None:
            tests.append(tested)
    epochs = sum(status.epochs for status, _ in trained)
    per_epoch = sum(seconds for _, seconds in trained) / epochs
    return Rate(per_epoch, fmean(starts or [0.0]), fmean(tests or [0.0]))


def job_seconds(benchmark: Path) -> float | None:
    """Return the seconds of a whole job as Snakemake measured them; None where it did not."""
    try:
        return float(json.loads(benchmark.read_text().splitlines()[-1])["s"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None
