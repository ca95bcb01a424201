import numpy as np
import pytest

from figure_checks import check_layout, shown_texts
from labelnoise.labels.raters.fitting import Fit
from labelnoise.labels.raters.judging import Comparison, Judgement
from labelnoise.labels.raters.statistics import STATISTICS
from labelnoise.report.figures.raters import draw_raters, outline_rows
from rater_folders import KNOWN, outlined

K = len(STATISTICS)


def comparison(real=0.4, simulated=0.5):
    return Comparison(
        5, *(np.full(K, value) for value in (real, simulated, real - 0.1, real + 0.1))
    )


def judgement(held_out=True):
    fit = Fit(KNOWN, {}, 1.0, 1)
    return Judgement(fit, comparison(), comparison() if held_out else None, 0.9, [])


@pytest.mark.parametrize("people", [True, False])
@pytest.mark.parametrize("held_out", [True, False])
def test_outlines_and_statistics_of_both(people, held_out):
    rows = outline_rows(outlined(5), KNOWN, 0, people)
    assert list(rows) == (["people", "simulated"] if people else ["simulated"])
    assert all(len(panel.raters) == 3 for row in rows.values() for panel in row)
    figure = draw_raters(judgement(held_out), rows)
    check_layout(figure)
    texts = [text.get_text() for text in shown_texts(figure)]
    assert ("people, objects left out" in texts) == held_out
    assert {"median", "90°", "simulated"} <= set(texts)


def test_statistics_that_no_object_tells_are_left_out():
    empty = comparison(np.nan, np.nan)
    figure = draw_raters(
        Judgement(Fit(KNOWN, {}, 1.0, 1), empty, None, 0.9, []), outline_rows(outlined(2), KNOWN, 0)
    )
    check_layout(figure)


def test_outlines_are_in_mm_around_their_mask():
    (each,) = outlined(1)
    panel = outline_rows([each], KNOWN, 0)["people"][0]
    height = np.ptp(np.concatenate([line for raters in panel.raters for line in raters])[:, 0])
    rows = np.flatnonzero(each.masks_RZHW.any(axis=(0, 1, 3)))
    assert 0.5 * np.ptp(rows) * 0.8 < height <= (np.ptp(rows) + 1) * 0.8
