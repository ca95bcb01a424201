"""Simulate how long a study takes on so many cards, from a table of seconds a run.

python scripts/simulate_schedule.py --configfile studies/labels18.yaml \\
    --seconds docs/scale/labels18-seconds.csv --cards 4 16 64

The table is a CSV file with the columns model and seconds, and dataset and recipe where times
differ by them: the tables/runs.csv of a finished study, or your own.
"""

import argparse
import sys
from textwrap import fill

from labelnoise.config import expand_runs
from labelnoise.jobs.script import explain
from labelnoise.scheduling import (
    Work,
    any_order,
    longest_first,
    look_up,
    read_seconds,
    slowest_network,
)
from model_runner import positive, read_configs

HOUR = 3600
# What makes it worth the trouble of naming the longest runs.
WORTH = 0.05
HEADER = f"{'cards':>5} {'order':21} {'hours':>7} {'worst':>7} {'used':>5} {'tail':>6} {'bound':>7}"
LEGEND = """hours: makespan, from the first start to the last end; used: share of all slot-hours
that train or test; tail: hours at the end in which a slot has nothing left; bound: no order can
take less."""


def main(argv=None):
    options = parse(argv)
    try:
        config = read_configs(options.configfile)[0]
        if options.repeats:
            config["matrix"]["repeats"] = options.repeats
        runs = expand_runs(config)
        table = read_seconds(options.seconds)
        seconds = look_up(table, runs)
    except Exception as error:
        sys.exit(f"error: {explain(error)}")
    works = [Work(second * (1 + options.test_share), 2 * options.overhead) for second in seconds]
    slowdown = options.slowdown or float(options.runs_per_card)
    print(describe(config["matrix"], works))
    print(assumptions(options, slowdown, table))
    print(f"\n{HEADER}")
    slowest = slowest_network(runs, seconds)
    first = [run["model"] == slowest for run in runs]
    gains = [compare(works, cards, options, slowdown, first) for cards in options.cards]
    print(LEGEND)
    worth = [f"{cards}" for cards, gain in zip(options.cards, gains, strict=True) if gain > WORTH]
    if worth:
        print(
            f"\nTo start {slowest} first saves more than {WORTH:.0%} on {', '.join(worth)} cards: "
            "name the test.csv files of its runs after snakemake's --prioritize."
        )


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--configfile", nargs="+", default=[], help="files that overlay config.yaml")
    add("--seconds", required=True, help="the CSV table of seconds a run")
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
        help="seconds a job, beside its work (8; a Slurm job about 6 more)",
    )
    add(
        "--test-share",
        type=at_least(0),
        default=0.1,
        help="seconds of testing for each second of training (0.1)",
    )
    return parser.parse_args(argv)


def at_least(least):
    """Make a reader of finite numbers from `least` on."""

    def number(text):
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not a number of at least {least}")
        return value

    return number


def describe(matrix, works):
    axes = ("dataset", "model", "recipe", "perturbation")
    sizes = {axis: len(matrix[axis]) for axis in axes} | {"repeat": matrix["repeats"]}
    counts = " x ".join(f"{size} {axis}{'s' * (size > 1)}" for axis, size in sizes.items())
    total = sum(work.seconds for work in works) / HOUR
    return f"{len(works)} runs: {counts}; {total:.1f} card-hours"


def assumptions(options, slowdown, table):
    """What the numbers rest on, in lines."""
    lines = [
        f"Seconds a run from {options.seconds}: fixed by dataset, network and recipe (means).",
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
        ["Assumed:", *(fill(f"- {line}", 96, subsequent_indent="  ") for line in lines)]
    )


def compare(works, cards, options, slowdown, first):
    """Print a row for each order; give the share of hours saved by the slowest network first."""
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
