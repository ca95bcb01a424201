"""How long a study takes on so many cards: its runs are put on slots one after the other.

Snakemake starts a ready job as soon as a slot is free. Among jobs of equal priority it has no
order of its own: the ready jobs are a set. So any order is as likely as another; many are tried.
"""

import io
import random
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import pandas as pd

from labelnoise.errors import InputError
from labelnoise.slots import slot_ends

KEYS = ("dataset", "model", "recipe")


@dataclass(frozen=True)
class Work:
    """What one run asks of a card.

    Attributes:
        seconds: training and testing, alone on a card.
        overhead: seconds in which its jobs hold a slot and compute nothing.
    """

    seconds: float
    overhead: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """Runs on slots.

    Attributes:
        makespan: seconds from the first start to the last end.
        tail: seconds at the end in which a slot has nothing left to do.
        utilisation: share of all slot-seconds until the makespan that train or test, 0 to 1.
        bound: seconds below which no order can come, whatever is done: the longest run, or all
            runs spread evenly.
    """

    makespan: float
    tail: float
    utilisation: float
    bound: float


def read_seconds(path):
    """Read a table of seconds a run, such as a finished study's tables/runs.csv.

    Returns:
        DataFrame with model and seconds, and dataset, recipe and device where the table has them.

    Raises:
        InputError: the file is missing, is no table, lacks a column, or a time is not above 0.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except OSError:
        raise InputError(
            f"{path} cannot be read; name a CSV file with the columns model and seconds, such as "
            "a finished study's tables/runs.csv."
        ) from None
    except ValueError as error:
        raise InputError(
            f"{path} is not a CSV table ({' '.join(str(error).split())}); expected the columns "
            "model and seconds."
        ) from None
    for name in ("model", "seconds"):
        if name not in table:
            raise InputError(
                f"{path} lacks the column '{name}', it has {', '.join(table)}; give model and "
                "seconds, and dataset and recipe where times differ by them."
            )
    seconds = pd.to_numeric(table["seconds"], errors="coerce")
    wrong = table["seconds"][~((seconds > 0) & (seconds < float("inf")))]
    if len(wrong):
        raise InputError(
            f"{path}, line {wrong.index[0] + 2}: seconds is {wrong.iloc[0]!r}; expected a number "
            "above 0."
        )
    return table[[name for name in (*KEYS, "device") if name in table]].assign(seconds=seconds)


def look_up(table, runs):
    """Give each run the mean seconds of the rows of its dataset, model and recipe.

    Args:
        table: what `read_seconds` returns; a column that it lacks does not matter.
        runs: mappings with dataset, model and recipe.

    Returns:
        A list of seconds, one a run.

    Raises:
        InputError: there is no row for a run.
    """
    keys = [name for name in KEYS if name in table]
    groups = table.groupby(keys)["seconds"]
    known = {key: mean(seconds) for key, seconds in groups}
    found = []
    for run in runs:
        key = tuple(run[name] for name in keys)
        if key not in known:
            wanted = ", ".join(f"{name} '{run[name]}'" for name in keys)
            raise InputError(
                f"the table of seconds has no row of {wanted}, which the matrix names; add one, or "
                "leave out a column by which times do not differ."
            )
        found.append(known[key])
    return found


def fill(works, slots, slowdown=1.0):
    """Put runs on slots in the order given, each on the slot that is free first.

    Args:
        works: a Work a run, at least one.
        slots: how many run at once.
        slowdown: how many times as long a run computes as it would alone on a card.

    Returns:
        The Schedule.
    """
    lengths = [work.seconds * slowdown + work.overhead for work in works]
    ends = slot_ends([0.0] * slots, lengths)
    makespan = max(ends)
    computing = sum(work.seconds * slowdown for work in works)
    return Schedule(
        makespan=makespan,
        tail=makespan - min(ends),
        utilisation=computing / (slots * makespan),
        bound=max([*lengths, sum(lengths) / slots]),
    )


def any_order(works, slots, slowdown=1.0, first=None, tries=200, seed=0):
    """Fill slots in many random orders.

    Args:
        works, slots, slowdown: as in `fill`.
        first: for each run whether it goes before all others, as `--prioritize` has it; None for
            no run.
        tries: how many orders.
        seed: of the orders.

    Returns:
        The Schedule of the median makespan, and the longest makespan.
    """
    rng = random.Random(seed)
    places = range(len(works))
    schedules = []
    for _ in range(tries):
        order = rng.sample(places, len(works))
        if first is not None:
            order.sort(key=lambda place: not first[place])
        schedules.append(fill([works[place] for place in order], slots, slowdown))
    schedules.sort(key=lambda schedule: schedule.makespan)
    return schedules[len(schedules) // 2], schedules[-1].makespan


def longest_first(works, slots, slowdown=1.0):
    """Fill slots with the longest runs first, which Snakemake cannot do by itself."""
    return fill(sorted(works, key=lambda work: -work.seconds), slots, slowdown)


def slowest_network(runs, seconds):
    """Name the network whose runs take longest on the mean.

    Args:
        runs: mappings with model.
        seconds: one a run.
    """
    times = {}
    for run, time in zip(runs, seconds, strict=True):
        times.setdefault(run["model"], []).append(time)
    return max(times, key=lambda model: mean(times[model]))
