"""Runs on slots: makespans that can be counted by hand, bounds, and what a wrong table leads to."""

import random
import subprocess
import sys
from itertools import product

import pytest

from labelnoise.errors import InputError
from labelnoise.study import Run
from simulate_schedule import (
    Work,
    any_order,
    fill,
    longest_first,
    look_up,
    read_seconds,
    slowest_network,
)
from workflow_runs import ROOT

SCRIPT = ROOT / "benchmarks" / "simulate_schedule.py"
PAPER = ("--configfile", "studies/labels18.yaml", "--seconds", "docs/scale/labels18-seconds.csv")


def works(*seconds):
    return [Work(second) for second in seconds]


def shortest(lengths, slots):
    """The least makespan of all ways to give jobs to slots."""
    return min(
        max(sum(x for x, slot in zip(lengths, way, strict=True) if slot == s) for s in range(slots))
        for way in product(range(slots), repeat=len(lengths))
    )


def simulate(*arguments):
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def run(model, dataset="a", recipe="r"):
    return Run(dataset, model, recipe, "control", 0)


def test_a_schedule_is_as_counted_by_hand():
    # Slots: 3 + 2 + 2 and 3 + 2; the best would be 3 + 3 and 2 + 2 + 2.
    schedule = fill(works(3, 3, 2, 2, 2), 2)
    assert (schedule.makespan, schedule.tail, schedule.bound) == (7, 2, 6)
    assert schedule.utilisation == pytest.approx(12 / 14)


def test_order_matters_as_counted_by_hand():
    # In order: 1 + 4 and 1 + 2. Longest first: 4 and 2 + 1 + 1.
    assert fill(works(1, 1, 2, 4), 2).makespan == 5
    best = longest_first(works(1, 1, 2, 4), 2)
    assert (best.makespan, best.tail, best.utilisation) == (4, 0, 1)


def test_what_goes_first_goes_first():
    # First: 6 and 2 + 2 + 2. Last: 2 + 6 and 2 + 2.
    first = [False, False, False, True]
    usual, worst = any_order(works(2, 2, 2, 6), 2, first=first)
    assert usual.makespan == worst == 6
    assert any_order(works(2, 2, 2, 6), 2)[1] == 8


def test_overhead_takes_a_slot_and_counts_as_idle():
    schedule = fill([Work(8, overhead=2), Work(8, overhead=2)], 1)
    assert schedule.makespan == 20
    assert schedule.utilisation == pytest.approx(16 / 20)


def test_sharing_a_card_without_gain_takes_as_long():
    alone, shared = fill(works(5, 5, 5, 5), 1), fill(works(5, 5, 5, 5), 2, slowdown=2)
    assert alone.makespan == shared.makespan == 20
    assert shared.utilisation == 1


def test_a_slot_without_a_run_is_idle():
    schedule = fill(works(6), 3)
    assert (schedule.makespan, schedule.tail, schedule.bound) == (6, 6, 6)
    assert schedule.utilisation == pytest.approx(1 / 3)


def test_makespans_keep_to_the_bounds_of_list_scheduling():
    rng = random.Random(4)
    for _ in range(60):
        lengths = [rng.randint(1, 9) for _ in range(rng.randint(1, 7))]
        slots = rng.randint(1, 3)
        best = shortest(lengths, slots)
        found, longest = fill(works(*lengths), slots), longest_first(works(*lengths), slots)
        usual, worst = any_order(works(*lengths), slots, tries=20)
        assert found.bound <= best <= found.makespan
        # Graham's bounds: any order, and longest first.
        for makespan in (found.makespan, usual.makespan, worst):
            assert best <= makespan <= (2 - 1 / slots) * best + 1e-9
        assert best <= longest.makespan <= (4 / 3 - 1 / (3 * slots)) * best + 1e-9
        assert found.utilisation == pytest.approx(sum(lengths) / (slots * found.makespan))


def test_seconds_are_means_of_the_rows_that_match(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(
        "dataset,structure,model,seconds,device\n"
        "a,liver,unet,10,cpu\na,liver,unet,20,cpu\nb,liver,unet,40,cpu\na,liver,segnet,5,cpu\n"
    )
    runs = [run("unet"), run("unet", "b", "other"), run("segnet")]
    table = read_seconds(path)
    assert look_up(table, runs) == [15, 40, 5]
    assert table["device"].unique().tolist() == ["cpu"]
    assert slowest_network(runs, [15, 40, 5]) == "unet"


def test_names_that_look_like_numbers_stay_names(tmp_path):
    path = tmp_path / "seconds.csv"
    path.write_text("model,seconds\n007,1\nNA,2\n")
    assert look_up(read_seconds(path), [run("NA"), run("007")]) == [2, 1]


def test_a_run_without_seconds_is_named(tmp_path):
    path = tmp_path / "seconds.csv"
    path.write_text("model,recipe,seconds\nunet,r,1\n")
    with pytest.raises(InputError, match="no row of model 'segnet', recipe 'r'"):
        look_up(read_seconds(path), [run("unet"), run("segnet")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,minutes\nunet,1\n", "lacks the column 'seconds', it has model, minutes"),
        ("network,seconds\nunet,1\n", "lacks the column 'model'"),
        ("model,seconds\nunet,1\nsegnet,soon\n", "line 3: seconds is 'soon'"),
        ("model,seconds\nunet,-1\n", "line 2: seconds is '-1'"),
        ("model,seconds\nunet,inf\n", "line 2: seconds is 'inf'"),
        ("model,seconds\nunet,\n", "line 2: seconds is ''"),
        ("", "is not a CSV table"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, text, message):
    path = tmp_path / "seconds.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_seconds(path)
    assert str(path) in str(caught.value)


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_seconds(tmp_path / "none.csv")


def test_the_paper_is_simulated():
    done = simulate(*PAPER, "--cards", "4", "400")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("300 runs: 2 datasets x 3 models x 1 recipe x 10 perturbations x")
    assert "not measured" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line[:5].strip().isdigit()]
    hours = {(row[0], row[1]): (float(row[-5]), float(row[-1])) for row in rows}
    # 50 runs of each length, a tenth on top for the test, 16 s beside; then the longest alone.
    total = 50 * 1.1 * (480 + 360 + 2400 + 300 + 180 + 1440) + 300 * 16
    assert hours["4", "any"][1] == pytest.approx(total / 4 / 3600, abs=0.01)
    longest = (1.1 * 2400 + 16) / 3600
    assert hours["400", "longest"] == pytest.approx((longest, longest), abs=0.01)


def test_a_mistake_ends_in_one_sentence():
    done = simulate("--seconds", "docs/scale/labels18-seconds.csv")
    assert done.returncode != 0
    assert done.stderr.startswith("error: the table of seconds has no row of dataset 'phantom'")
    assert len(done.stderr.splitlines()) == 1
