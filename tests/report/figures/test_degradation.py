"""Test Dice against label Dice: what is plotted equals the table."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from figure_checks import lines, texts
from labelnoise.report.figures.degradation import draw_degradation


def test_degradation_plots_the_table(cells, full_figure):
    table = cells("full")
    # Rows: liver, then pancreas; columns: natural, choppy, random.
    for row, dataset in enumerate(["lis", "psd"]):
        for column, kind in enumerate(["natural", "choppy", "random"]):
            panel = full_figure.axes[3 * row + column]
            shown = table[(table["dataset"] == dataset) & table["kind"].isin(["control", kind])]
            for (model, recipe), line in shown.groupby(["model", "recipe"]):
                expected = line.sort_values("label_dice_mean", ascending=False)
                plotted = lines(panel)[f"{model} {recipe}"]
                assert plotted.get_xdata() == pytest.approx(expected["label_dice_mean"].to_numpy())
                assert plotted.get_ydata() == pytest.approx(expected["dice_mean"].to_numpy())
                assert plotted.get_xdata()[0] == 1


def test_degradation_draws_the_interval(cells, full_figure):
    panel = full_figure.axes[0]
    (bars,) = (bars for bars in panel.containers if bars.get_label() == "unet labels18")
    (ends,) = (part for part in bars.lines[2] if isinstance(part, LineCollection))
    table = cells("full")
    shown = table[(table["dataset"] == "lis") & table["kind"].isin(["control", "natural"])]
    shown = shown[(shown["model"] == "unet") & (shown["recipe"] == "labels18")]
    found = sorted(tuple(segment[:, 1]) for segment in ends.get_segments())
    assert np.array(found) == pytest.approx(
        shown[["dice_low", "dice_high"]].sort_values("dice_low")
    )


def test_degradation_draws_every_run_once_a_panel(full, full_figure):
    shown = full[(full["dataset"] == "psd") & full["kind"].isin(["control", "random"])]
    panel = full_figure.axes[5]
    found = [line.get_xydata() for name, line in lines(panel).items() if name.startswith("_runs")]
    expected = shown[["label_dice", "dice"]].to_numpy()
    assert sorted(map(tuple, np.concatenate(found))) == sorted(map(tuple, expected))


def test_degradation_reads_from_clean_labels_to_worse(full_figure):
    panel = full_figure.axes[0]
    left, right = panel.get_xlim()
    assert left > 1 > 0.85 > right
    assert panel.get_title() == "natural"
    assert panel.get_ylabel() == "Liver CT\ntest Dice"


def test_degradation_shows_every_mean_and_interval(study, load, cells):
    table = cells(study)
    panels = draw_degradation(table, load(study)).axes
    low = min(panel.get_ylim()[0] for panel in panels)
    assert low <= max(0, np.nanmin(table[["dice_low", "dice_mean"]].to_numpy()))
    assert max(panel.get_ylim()[1] for panel in panels) >= min(1, table["dice_mean"].max())


def test_degradation_legend(load, cells, full_figure):
    expected = ["U-Net", "SegNet", "FCN-32s", "labels18", "plain cross-entropy"]
    expected += ["test Dice = label Dice", "single run", "95 % interval (repeats, cases)"]
    assert texts(full_figure) == expected
    # The interval of a single repeat is over cases alone, and of a single case there is none.
    runs, table = load("one run"), cells("one run")
    alone = ["U-Net", "labels18", *expected[5:-1]]
    assert texts(draw_degradation(table, runs)) == [*alone, "95 % interval (cases)"]
    none = table.assign(dice_low=np.nan, dice_high=np.nan, left_out="repeats and cases")
    assert texts(draw_degradation(none, runs)) == alone


def test_styles_tell_all_series_of_a_panel_apart(study, runs, cells):
    panel = draw_degradation(cells(study), runs).axes[0]
    looks = [bars.lines[0] for bars in panel.containers]
    seen = {
        (to_hex(look.get_color()), look.get_marker(), look.get_linestyle(), look.get_fillstyle())
        for look in looks
    }
    assert len(seen) == len(looks) == len(runs[["model", "recipe"]].drop_duplicates())
