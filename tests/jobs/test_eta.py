"""How long the rest of a study takes, by hand."""

import json
import re
from collections import Counter

from labelnoise.jobs.eta import Eta, Rate, estimate, makespan
from labelnoise.jobs.status_page import render
from labelnoise.jobs.study_status import StudyStatus
from labelnoise.study import Results
from study_tree import HOLDER, NOW, SETTING, Tree, make_runs


def test_makespan_by_hand():
    assert makespan([], [], 1) == 0
    assert makespan([], [10, 10, 10], 2) == 20
    assert makespan([4, 9], [10, 1], 2) == 14
    assert makespan([5], [3, 3], 3) == 5


def test_estimate_by_hand():
    """An epoch takes 2 s, a start 5 s, a test 3 s; two are at work at once.

    They have 4 and 8 epochs to go and end at 11 and 19 s. Then, in order: one that waits takes
    5 + 20 + 3 seconds, from 11 to 39; one with 6 epochs left 5 + 12 + 3, from 19 to 39;
    a test, to 42.
    """
    runs = [
        *make_runs("running", 1, epoch=6),
        *make_runs("running", 1, epoch=2),
        *make_runs("waiting", 1),
        *make_runs("stopped", 1, epoch=4),
        *make_runs("trained", 1),
        *make_runs("failed", 5),
        *make_runs("finished", 7),
    ]
    rates = {("d", "m", "r"): Rate(2.0, 5.0, 3.0)}
    assert estimate(runs, rates) == Eta(42.0, 2, Counter())


def test_an_outdated_run_starts_over():
    assert estimate(make_runs("outdated", 1), {("d", "m", "r"): Rate(2.0)}).seconds == 20.0


def test_what_was_never_measured_is_unknown():
    other = ("d", "m", "other")
    runs = [*make_runs("waiting", 2), *make_runs("waiting", 3, setting=other)]
    assert estimate(runs, {}) == Eta(None, 1, Counter({("d", "m", "r"): 2, other: 3}))
    assert estimate(runs, {other: Rate(1.0)}) == Eta(30.0, 1, Counter({("d", "m", "r"): 2}))


def test_an_eta_says_what_it_leaves_out(tmp_path):
    """A trained run of 10 epochs in 20 s, so 20 s for the one that waits; 3 have no measure."""
    runs = [
        *make_runs("finished", 1, seconds=20.0),
        *make_runs("waiting", 1),
        *make_runs("waiting", 3, setting=("d", "m", "other")),
        *make_runs("failed", 1),
    ]
    text = render(StudyStatus(Results(tmp_path), runs), NOW)
    assert "ETA: unknown, since no epoch has been measured yet for 3 runs\n(d/m/other)." in text
    assert "The others take 20 s, one at a time; none is being trained now." in text
    assert "Failed runs are left out." in text


def test_rates_come_from_trained_runs(tmp_path):
    """Two trained runs of 2 epochs: 10 and 14 s make 6 s an epoch; jobs take 3 and 5 s longer."""
    tree = Tree(tmp_path)
    first, second, third, _ = tree.runs
    tree.train(first, seconds=10.0, job=13.0)
    tree.test(first, job=2.0)
    tree.train(second, seconds=14.0, job=19.0)
    # Epochs of unfinished runs count only where there is nothing better.
    tree.begin(third, 0, 100.0)
    assert tree.measure() == {SETTING: Rate(6.0, 4.0, 2.0)}
    # The test of the second, 2 s, then two runs of 4 + 12 + 2 s, one at a time.
    assert estimate(tree.status().runs, tree.measure()).seconds == 38.0
    assert "ETA: the rest takes 38 s, one at a time" in render(tree.status(), NOW)


def test_a_sitting_shorter_than_the_training_is_no_start(tmp_path):
    tree = Tree(tmp_path)
    tree.train(tree.runs[0], seconds=10.0, job=7.0)
    assert tree.measure() == {SETTING: Rate(5.0)}


def test_rates_come_from_unfinished_runs_where_none_is_trained(tmp_path, holding):
    """3 epochs in 6 s: 2 s per epoch. One epoch is left of one run, none of the other."""
    tree = Tree(tmp_path)
    first, second, *_ = tree.runs
    tree.begin(first, 1, 1.0)
    tree.begin(second, 2, 5.0)
    for run in (first, second):
        holding(tree.folder(run).lock, json.dumps(HOLDER))
    assert tree.measure() == {SETTING: Rate(2.0)}
    # Two wait, 4 s each: from 0 to 4 and from 2 to 6.
    assert estimate(tree.status().runs, tree.measure()) == Eta(6.0, 2, Counter())
    text = render(tree.status(), NOW)
    assert re.search("ETA: the rest takes 6 s, .* with 2 at once as now", text)
