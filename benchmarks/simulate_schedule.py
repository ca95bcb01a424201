"""Simulate how long a study takes on a number of cards, from a table of seconds per run.

    .venv/bin/python benchmarks/simulate_schedule.py --configfile studies/labels18.yaml \\
        --seconds docs/scale/labels18-seconds.csv --cards 4 16 64

The table is a CSV file with the columns model and seconds, and dataset and recipe where times
differ between them: the tables/runs.csv of a finished study, or your own.

Runs are put on slots one after the other. Snakemake starts a ready job as soon as a slot is free,
and among jobs of equal priority it has no order of its own: the ready jobs are a set. So any order
is as likely as another, and many are tried.
"""

import argparse
import heapq
import io
import random
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from labelnoise.config.rules import AXES  # noqa: E402
from labelnoise.errors import InputError  # noqa: E402
from labelnoise.jobs.script import explain  # noqa: E402
from labelnoise.study import Run, Study, read_study  # noqa: E402

KEYS = ("dataset", "model", "recipe")
HOUR = 3600
# Share of hours saved from which it is worth naming the longest runs.
WORTH = 0.05
HEADER = f"{'cards':>5} {'order':21} {'hours':>7} {'worst':>7} {'used':>5} {'tail':>6} {'bound':>7}"
LEGEND = """hours: makespan, from the first start to the last end; used: share of all slot-hours
that train or test; tail: hours at the end in which a slot has nothing left; bound: no order can
take less."""


@dataclass(frozen=True)
class Work:
    """How long one run needs a card.

    Attributes:
        seconds: training and testing, alone on a card.
        overhead: seconds in which its jobs hold a slot without computing.
    """

    seconds: float
    overhead: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """Runs on slots.

    Attributes:
        makespan: seconds from the first start to the last end.
        tail: seconds at the end in which a slot has nothing to do.
        utilisation: share of all slot-seconds until the makespan that train or test, 0 to 1.
        bound: seconds that every order takes at least: the longest run, or all runs spread evenly.
    """

    makespan: float
    tail: float
    utilisation: float
    bound: float


def read_seconds(path: Path | str) -> pd.DataFrame:
    """Read a table of seconds per run, such as a finished study's tables/runs.csv.

    Returns:
        DataFrame with model and seconds, and dataset, recipe and device where the table has them.

    Raises:
        InputError: the file is missing, is not a table, lacks a column, or a time is not above 0.
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


def look_up(table: pd.DataFrame, runs: Sequence[Run]) -> list[float]:
    """Return for each run the mean seconds of the rows of its dataset, model and recipe.

    Args:
        table: what `read_seconds` returns; a column that it lacks does not matter.
        runs: the runs.

    Raises:
        InputError: there is no row for a run.
    """
    keys = [name for name in KEYS if name in table]
    groups = table.groupby(keys)["seconds"]
    known = {key: mean(seconds) for key, seconds in groups}
    found = []
    for run in runs:
        key = tuple(getattr(run, name) for name in keys)
        if key not in known:
            wanted = ", ".join(f"{name} '{getattr(run, name)}'" for name in keys)
            raise InputError(
                f"the table of seconds has no row of {wanted}, which the matrix names; add one, or "
                "leave out a column by which times do not differ."
            )
        found.append(known[key])
    return found


def fill(works: Sequence[Work], slots: int, slowdown: float = 1.0) -> Schedule:
    """Put runs on slots in the given order, each on the first free slot.

    Args:
        works: one per run, at least one.
        slots: how many run at once.
        slowdown: how many times as long a run computes as it would alone on a card.
    """
    lengths = [work.seconds * slowdown + work.overhead for work in works]
    ends = [0.0] * slots
    for length in lengths:
        heapq.heapreplace(ends, ends[0] + length)
    makespan = max(ends)
    computing = sum(work.seconds * slowdown for work in works)
    return Schedule(
        makespan=makespan,
        tail=makespan - min(ends),
        utilisation=computing / (slots * makespan),
        bound=max([*lengths, sum(lengths) / slots]),
    )


def any_order(
    works: Sequence[Work],
    slots: int,
    slowdown: float = 1.0,
    first: Sequence[bool] | None = None,
    tries: int = 200,
    seed: int = 0,
) -> tuple[Schedule, float]:
    """Fill slots in many random orders.

    Args:
        works, slots, slowdown: as in `fill`.
        first: for each run whether it goes before all others, as with `--prioritize`; None for no
            run.
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


def longest_first(works: Sequence[Work], slots: int, slowdown: float = 1.0) -> Schedule:
    """Fill slots with the longest runs first, which Snakemake cannot do."""
    return fill(sorted(works, key=lambda work: -work.seconds), slots, slowdown)


def slowest_network(runs: Sequence[Run], seconds: Sequence[float]) -> str:
    """Return the model with the longest mean time; `seconds` has one entry per run."""
    times: dict[str, list[float]] = {}
    for run, time in zip(runs, seconds, strict=True):
        times.setdefault(run.model, []).append(time)
    return max(times, key=lambda model: mean(times[model]))


def main() -> None:
    options = parse()
    try:
        study = read_study(ROOT / "config.yaml", *options.configfile)
        if options.repeats:
            study = replace(study, repeats=options.repeats)
        runs = study.runs
        table = read_seconds(options.seconds)
        seconds = look_up(table, runs)
    except Exception as error:
        sys.exit(f"error: {explain(error)}")
    works = [Work(second * (1 + options.test_share), 2 * options.overhead) for second in seconds]
    slowdown = options.slowdown or float(options.runs_per_card)
    print(describe(study, works))
    print(assumptions(options, slowdown, table))
    print(f"\n{HEADER}")
    slowest = slowest_network(runs, seconds)
    first = [run.model == slowest for run in runs]
    gains = [compare(works, cards, options, slowdown, first) for cards in options.cards]
    print(LEGEND)
    worth = [f"{cards}" for cards, gain in zip(options.cards, gains, strict=True) if gain > WORTH]
    if worth:
        print(
            f"\nTo start {slowest} first saves more than {WORTH:.0%} on {', '.join(worth)} cards: "
            "name the test.csv files of its runs after snakemake's --prioritize."
        )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--configfile", nargs="+", default=[], help="files that overlay config.yaml")
    add("--seconds", required=True, help="the CSV table of seconds per run")
    add("--cards", type=positive, nargs="+", default=[4, 16, 64], help="cards (4 16 64)")
    add("--repeats", type=positive, help="repeats, instead of the config's")
    add("--runs-per-card", type=positive, default=1, help="runs that share a card (1)")
    add(
        "--slowdown",
        type=at_least(1),
        help="times as long that a run takes where --runs-per-card share a card (as many: no gain)",
    )
    add(
        "--overhead",
        type=at_least(0),
        default=8.0,
        help="seconds per job, beside its work (8; a Slurm job about 6 more)",
    )
    add(
        "--test-share",
        type=at_least(0),
        default=0.1,
        help="seconds of testing for each second of training (0.1)",
    )
    return parser.parse_args()


def positive(text: str) -> int:
    """Return a whole number above 0, as an argument type."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def at_least(least: float) -> Callable[[str], float]:
    """Return an argument type: finite numbers from `least` on."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not a number of at least {least}")
        return value

    return number


def describe(study: Study, works: Sequence[Work]) -> str:
    """Return the size of the study on one line."""
    sizes = {axis: len(study.matrix[axis]) for axis in AXES} | {"repeat": study.repeats}
    counts = " x ".join(f"{size} {axis}{'s' * (size > 1)}" for axis, size in sizes.items())
    total = sum(work.seconds for work in works) / HOUR
    return f"{len(works)} runs: {counts}; {total:.1f} card-hours"


def assumptions(options: argparse.Namespace, slowdown: float, table: pd.DataFrame) -> str:
    """Return the assumptions behind the numbers, as lines of text."""
    lines = [
        f"Seconds per run from {options.seconds}: fixed by dataset, network and recipe (means).",
        f"A run is a training and a test that takes {options.test_share:g} of its seconds, on one "
        "slot, one after the other.",
        f"Each of the two jobs holds its slot {options.overhead:g} s beside its work, "
        "which counts as idle.",
        "No failures, no wait in a queue, cards all alike and free from the start, enough cores, "
        "memory and disk speed for all.",
        "Datasets, calibrations and labels are there; tables and figures come after.",
        "Any order: Snakemake takes ready jobs in no order of its own, so median and worst of 200 "
        "random ones. Slowest network first: its runs after --prioritize. Longest run first: for "
        "comparison, Snakemake cannot.",
    ]
    if "device" in table:
        devices = sorted(set(table["device"]))
        others = f" and {len(devices) - 1} more" if len(devices) > 1 else ""
        lines[0] += f" Their device: {devices[0]}{others}."
    if options.runs_per_card > 1:
        gain = ", also at the end, when fewer share."
        if slowdown == options.runs_per_card:
            gain = ", so sharing gains nothing: measure it, and set --slowdown."
        lines.append(
            f"{options.runs_per_card} runs share a card and each takes {slowdown:g} times as long"
            f"{gain}"
        )
    return "\n".join(
        ["Assumed:", *(textwrap.fill(f"- {line}", 96, subsequent_indent="  ") for line in lines)]
    )


def compare(
    works: Sequence[Work],
    cards: int,
    options: argparse.Namespace,
    slowdown: float,
    first: Sequence[bool],
) -> float:
    """Print one row per order; return the share of hours saved by the slowest network first."""
    slots = cards * options.runs_per_card
    usual, usual_worst = any_order(works, slots, slowdown)
    slow, slow_worst = any_order(works, slots, slowdown, first)
    longest = longest_first(works, slots, slowdown)
    for order, found, worst in (
        ("any", usual, usual_worst),
        ("slowest network first", slow, slow_worst),
        ("longest run first", longest, longest.makespan),
    ):
        print(
            f"{cards:5} {order:21} {found.makespan / HOUR:7.2f} {worst / HOUR:7.2f} "
            f"{found.utilisation:5.0%} {found.tail / HOUR:6.2f} {found.bound / HOUR:7.2f}"
        )
    return 1 - slow.makespan / usual.makespan


if __name__ == "__main__":
    main()
