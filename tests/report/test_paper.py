"""The paper's numbers beside ours: Table 1 as printed, differences and slopes counted by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from labelnoise.evaluation.tables import degradation_table
from labelnoise.report.paper import (
    TABLE_1,
    compare_with_paper,
    nominal_dice,
    paper_dice,
    paper_slopes,
    slopes_beside_paper,
)
from runs_tables import KINDS, cases_of, proportional_runs


@pytest.fixture
def runs():
    return proportional_runs()


def compared(runs):
    """Ours beside the paper's, from runs of equal cases."""
    return compare_with_paper(degradation_table(runs, cases_of(runs)))


def slopes_of(runs):
    """The table of slopes, from runs of equal cases."""
    return slopes_beside_paper(runs, cases_of(runs))


def cell(table, **names):
    """The one row of these names."""
    found = table
    for name, value in names.items():
        found = found[found[name] == value]
    (row,) = found.to_dict("records")
    return row


# Rows as the paper prints them: U-Net, SegNet, FCN-32.
PRINTED = """
control 1    0.9134 0.8993 0.8870
natural 0.95 0.8880 0.8640 0.8587
natural 0.90 0.8193 0.8265 0.8250
natural 0.85 0.7521 0.7717 0.7581
choppy 0.95  0.8928 0.8799 0.8660
choppy 0.90  0.8321 0.8268 0.8202
choppy 0.85  0.8058 0.7823 0.7782
random 0.95  0.9124 0.9050 0.8881
random 0.90  0.9213 0.9013 0.8751
random 0.85  0.9182 0.9068 0.8676
"""


@pytest.mark.parametrize("line", PRINTED.strip().splitlines())
def test_table_1_is_the_one_printed(line):
    kind, size, *dices = line.split()
    found = [paper_dice(model, kind, float(size)) for model in ("unet", "segnet", "fcn32")]
    assert found == [float(dice) for dice in dices]


def test_what_the_paper_does_not_have_is_no_number():
    assert np.isnan(paper_dice("fcn8", "natural", 0.95))
    assert np.isnan(paper_dice("unet", "dilated", 0.95))
    assert np.isnan(paper_dice("unet", "natural", 0.80))
    assert np.isnan(paper_dice("unet", "natural", np.nan))


@pytest.mark.parametrize(
    ("name", "target", "nominal"),
    [
        ("natural-0.95", 0.95, 0.95),
        ("mine", 0.9, 0.9),
        ("natural-0.95", None, 0.95),
        ("choppy-l", np.nan, 0.85),
        ("natural-14px", None, np.nan),
        ("control", None, np.nan),
    ],
)
def test_errors_given_by_severity_are_named_by_their_label_dice(name, target, nominal):
    assert nominal_dice(name, target) == pytest.approx(nominal, nan_ok=True)


def test_differences_are_ours_minus_the_papers(runs):
    table = compared(runs)
    row = cell(table, model="unet", perturbation="natural-0.90")
    # Repeats lose 0.10, 0.11 and 0.12 from controls of 0.90, 0.91 and 0.92: Dice 0.80 each.
    assert row["dice_mean"] == pytest.approx(0.80)
    assert row["paper_liver_dice"] == 0.8193
    assert row["difference"] == pytest.approx(0.80 - 0.8193)
    assert row["drop_mean"] == pytest.approx(0.11)
    assert row["paper_liver_drop"] == pytest.approx(0.9134 - 0.8193)
    assert row["drop_difference"] == pytest.approx(0.11 - 0.0941)
    control = cell(table, model="unet", perturbation="control")
    assert (control["n"], control["drop_difference"]) == (3, 0)
    assert control["difference"] == pytest.approx(0.91 - 0.9134)


def test_every_cell_is_compared_and_foreign_networks_have_no_number(runs):
    everything = pd.concat([runs, proportional_runs(models=("unet",), datasets=("phantom",))])
    table = compared(everything)
    assert len(table) == 10 * 3
    assert table.loc[table["model"] == "mine", "paper_liver_dice"].isna().all()
    unet = table[table["model"] == "unet"]
    assert unet.loc[unet["dataset"] == "lis", "drop_difference"].notna().all()
    # Other data are not what the paper's numbers are of.
    assert unet.loc[unet["dataset"] == "phantom", "drop_difference"].isna().all()
    phantom = slopes_of(everything)[lambda slopes: slopes["dataset"] == "phantom"]
    assert phantom["paper_liver_slope"].isna().all() and phantom["slope"].notna().all()


def test_slopes_are_the_ones_counted_by_hand(runs):
    table = slopes_of(proportional_runs(models=("unet",), kinds=("natural",)))
    row = cell(table, model="unet", kind="natural")
    # The repeats' own slopes are 1.0, 1.1 and 1.2, those of all cases; no other shares the prior.
    half = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    assert row["slope"] == pytest.approx(1.1)
    assert (row["slope_low"], row["slope_high"]) == pytest.approx((1.1 - half, 1.1 + half))
    assert (row["n"], row["runs"]) == (3, 9)
    assert (row["cases"], row["left_out"]) == (3, "")
    assert row["difference"] == pytest.approx(1.1 - row["paper_liver_slope"])
    table = slopes_of(runs)
    assert cell(table, model="mine", kind="choppy")["slope"] == pytest.approx(0.55)
    assert cell(table, model="mine", kind="random")["slope"] == pytest.approx(0)
    assert np.isnan(cell(table, model="mine", kind="choppy")["difference"])


def test_slopes_agree_with_numpy():
    runs = proportional_runs(noise=0.02, repeats=4)
    rng = np.random.default_rng(1)
    error = runs["kind"] != "control"
    runs.loc[error, "label_dice"] += rng.normal(0, 0.01, error.sum())
    row = cell(slopes_of(runs), model="unet", kind="natural")
    own = []
    for _, unet in runs[runs["model"] == "unet"].groupby("repeat"):
        natural = unet[unet["kind"] == "natural"]
        x = 1 - natural["label_dice"].to_numpy()
        y = unet.loc[unet["kind"] == "control", "dice"].item() - natural["dice"].to_numpy()
        own.append(np.linalg.lstsq(x[:, None], y, rcond=None)[0][0])
    assert row["slope"] == pytest.approx(np.mean(own))
    assert row["slope_low"] < row["slope"] < row["slope_high"]


def test_slopes_leave_out_runs_without_a_control():
    runs = proportional_runs(models=("unet",))
    lacking = runs[~((runs["kind"] == "control") & (runs["repeat"] == 2))]
    row = cell(slopes_of(lacking), kind="natural")
    assert (row["n"], row["runs"]) == (2, 6)
    assert row["slope"] == pytest.approx(1.05)
    for kinds in (runs["kind"] != "control", runs["kind"] == "control"):
        table = slopes_of(runs[kinds])
        assert table.empty and list(table) == list(slopes_of(runs))


def test_one_repeat_of_one_case_has_a_slope_and_no_interval():
    runs = proportional_runs(models=("unet",), repeats=1)
    row = cell(slopes_beside_paper(runs, cases_of(runs, ["a"])), kind="choppy")
    assert row["slope"] == pytest.approx(0.5)
    assert np.isnan(row["slope_low"]) and np.isnan(row["slope_high"])
    assert row["left_out"] == "repeats and cases"


def test_labels_without_error_have_no_slope():
    runs = proportional_runs(models=("unet",), kinds=("natural",)).assign(label_dice=1.0)
    row = cell(slopes_of(runs), kind="natural")
    assert row["n"] == 0 and np.isnan(row["slope"])


def test_the_papers_slopes_are_computed_in_the_same_way():
    x = np.array([0.05, 0.10, 0.15])
    for model, row in TABLE_1.items():
        for kind in KINDS:
            y = row["control"] - np.array(row[kind])
            expected = np.linalg.lstsq(x[:, None], y, rcond=None)[0][0]
            assert paper_slopes(model, kind)[0] == pytest.approx(expected)
    # (0.05 x 0.0254 + 0.10 x 0.0941 + 0.15 x 0.1613) / 0.035
    assert paper_slopes("unet", "natural")[0] == pytest.approx(0.034875 / 0.035)
    assert np.isnan(paper_slopes("unet-resnet18", "natural")).all()


def test_the_papers_slopes_at_the_label_dice_that_its_severities_give():
    # Losses of .0254, .0941 and .1613 over .035, .066 and .105 of label Dice.
    by_hand = (0.0254 * 0.035 + 0.0941 * 0.066 + 0.1613 * 0.105) / (0.035**2 + 0.066**2 + 0.105**2)
    assert paper_slopes("unet", "natural")[1] == pytest.approx(by_hand)
    # Flips have the label Dice that their rate says.
    nominal, measured = paper_slopes("segnet", "random")
    assert nominal == measured
