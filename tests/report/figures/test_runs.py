"""Every run: each is plotted once, and networks and perturbations stand apart."""

from itertools import pairwise

import numpy as np

from figure_checks import texts
from labelnoise.report.figures.runs import draw_runs


def test_runs_plots_every_run(runs):
    figure = draw_runs(runs)
    found = [
        (line.get_label()[1:], dice)
        for panel in figure.axes
        for line in panel.lines
        if line.get_marker() != "None"
        for dice in line.get_ydata()
    ]
    expected = zip(runs["model"] + " " + runs["perturbation"], runs["dice"], strict=True)
    assert sorted(found) == sorted(expected)


def test_runs_keeps_networks_and_perturbations_apart(full):
    panel = draw_runs(full).axes[0]
    dots = [line for line in panel.lines if line.get_marker() != "None"]
    places = sorted((min(dot.get_xdata()), max(dot.get_xdata()), dot.get_label()) for dot in dots)
    assert all(one[1] < two[0] for one, two in pairwise(places))
    centres = {"unet": 0, "segnet": 1, "fcn32": 2}
    assert all(round(low) == centres[label[1:].split()[0]] for low, _, label in places)


def test_runs_legend(full):
    kinds = ["control", "natural", "choppy", "random"]
    assert texts(draw_runs(full)) == [
        *kinds,
        "label Dice 0.95",
        "label Dice 0.90",
        "label Dice 0.85",
        "mean of the control",
    ]


def test_runs_without_control_has_no_control_line(full):
    panels = draw_runs(full[full["kind"] != "control"]).axes
    assert not [line for panel in panels for line in panel.lines if line.get_label() == "_control"]


def test_runs_names_errors_given_by_severity_by_their_label_dice(full):
    short = {"-0.95": "-s", "-0.90": "-m", "-0.85": "-l"}
    renamed = full["perturbation"].replace(short, regex=True)
    by_severity = full.assign(perturbation=renamed, target_dice=np.nan)
    assert texts(draw_runs(by_severity)) == texts(draw_runs(full))
