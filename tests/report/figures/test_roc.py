"""ROC curves: means and bands by hand, and what is plotted equals the histograms."""

import numpy as np
import pytest

from figure_checks import curves_of_first, lines, texts
from labelnoise.evaluation.histograms import BINS, ScoreHistogram
from labelnoise.report.figures.roc import GRID, draw_roc, mean_curve


def test_mean_curve_of_curves_drawn_by_hand():
    def steps(below, between, above):
        counts_2B = np.zeros((2, BINS), np.int64)
        counts_2B[:, 0], counts_2B[:, 5], counts_2B[:, 9] = below, between, above
        return ScoreHistogram(counts_2B)

    # The first finds 60 % of positives before any negative, the second 100 %.
    first, second = steps((99, 0), (1, 40), (0, 60)), steps((100, 0), (0, 0), (0, 100))
    mean, sd = mean_curve([first, second])
    half = np.searchsorted(GRID, 0.005)
    assert mean[half] == pytest.approx((0.6 + 0.4 * GRID[half] / 0.01 + 1) / 2)
    assert sd[half] == pytest.approx((1 - (0.6 + 0.4 * GRID[half] / 0.01)) / np.sqrt(2))
    assert mean[-1] == 1 and sd[-1] == 0
    assert np.isnan(mean_curve([first])[1]).all()
    empty = ScoreHistogram(np.zeros((2, BINS), np.int64))
    np.testing.assert_array_equal(mean_curve([first, empty])[0], mean_curve([first])[0])


def test_roc_plots_means_bands_and_decisions(full):
    curves = curves_of_first(full)
    panel = draw_roc(curves).axes[1]  # U-Net, plain
    here = curves[(curves["model"] == "unet") & (curves["recipe"] == "plain")]
    assert panel.get_xscale() == "log"
    for name, runs in here.groupby("perturbation"):
        histograms = runs["histogram"].tolist()
        mean, sd = mean_curve(histograms)
        np.testing.assert_array_equal(lines(panel)[f"_{name}"].get_ydata(), mean)
        (band,) = (part for part in panel.collections if part.get_label() == f"_band {name}")
        edges = band.get_paths()[0].vertices[:, 1]
        assert edges.max() == pytest.approx(min((mean + sd).max(), 1))
        decision = lines(panel)[f"_decision {name}"].get_xydata()[0]
        expected = np.mean([histogram.decision() for histogram in histograms], axis=0)
        assert decision == pytest.approx(expected)
        # The synthetic scores are made so that the decision gives the counted masks.
        assert decision[1] == pytest.approx(runs["recall"].mean())


def test_roc_prints_the_average_precision_of_the_table(full, load):
    curves = curves_of_first(full)
    panel = draw_roc(curves).axes[0]
    here = curves[(curves["model"] == "unet") & (curves["recipe"] == "labels18")]
    expected = here.loc[here["kind"] == "control", "average_precision"]
    found = [text.get_text() for text in panel.get_legend().get_texts()]
    assert found[0] == f"{expected.mean():.4f} ± {expected.std():.4f}"
    names = ["control", *(f"{kind} 0.85" for kind in ["natural", "choppy", "random"])]
    assert texts(panel.figure)[:4] == names and len(found) == 4
    single = draw_roc(curves_of_first(load("one run")))
    assert "±" not in single.axes[0].get_legend().get_texts()[0].get_text()
    assert texts(single) == ["control", "natural 0.95", "single run", "at probability 0.5"]
