"""The figure of mitigations: what is drawn equals the table."""

import numpy as np
import pytest

from figure_checks import lines
from labelnoise.evaluation.mitigation import mitigation_table
from labelnoise.report.figures.mitigation import CLEAN, draw_mitigation
from odd_studies import OddStudy


@pytest.fixture(scope="module")
def table():
    study = OddStudy(kinds=("natural", "choppy"), recipes=("plain", "gce", "small-loss"), repeats=3)
    return mitigation_table(study.runs, study.cases, "plain")


def test_the_figure_plots_the_table(table):
    figure = draw_mitigation(table, "plain")
    panels = {panel.get_title(): lines(panel) for panel in figure.axes}
    assert [*panels] == [CLEAN, "natural 0.85", "choppy 0.85"]
    for row in table.to_dict("records"):
        name = f"_unet {row['recipe']} {row['at']}"
        found = panels[f"{row['kind']} 0.85"]
        assert found[name].get_xdata()[0] == pytest.approx(row["gained_mean"])
        assert found["_unet lost"].get_xdata()[0] == pytest.approx(row["lost_mean"])
        assert panels[CLEAN][name].get_xdata()[0] == pytest.approx(-row["cost_mean"])
        assert found[name].get_ydata()[0] == panels[CLEAN][name].get_ydata()[0]
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == [
        "generalised cross-entropy",
        "small-loss selection",
        "threshold, clean validation",
        "threshold, noisy validation",
    ]


def test_what_was_lost_is_in_sight_and_a_wide_interval_is_cut(table):
    wide = table.assign(gained_low=-9.0, gained_high=9.0)
    panel = draw_mitigation(wide, "plain").axes[1]
    low, high = panel.get_xlim()
    assert low < 0 < table["lost_mean"].max() < high < 1
    assert any(line.get_label() == "_cut" for line in panel.lines)


def test_a_table_without_numbers_says_so(table):
    empty = table.assign(gained_mean=np.nan)
    assert "no mitigation" in draw_mitigation(empty, "plain").texts[0].get_text()
