"""Curves of mended labels: what is drawn equals the table, and fits the page."""

import numpy as np
import pandas as pd
import pytest

from figure_checks import check_layout, lines, texts
from labelnoise.evaluation.detectors import DETECTORS
from labelnoise.evaluation.review import IDEAL, RANDOM, grade_detectors
from labelnoise.report.figures.review import draw_review
from labelnoise.report.render import latex, markdown
from labelnoise.report.review import review_tables

ERRORS = ("natural-0.95", "missed-some", "a-rather-long-name-of-an-error", "thick-all", "shifted")


def graded(errors=ERRORS, models=("unet",)):
    rng = np.random.default_rng(0)
    parts = []
    for error in errors:
        for model in models:
            for repeat in range(2):
                for split in ("train", "test"):
                    fp = rng.integers(1, 9, 40) * (rng.random(40) < 0.3)
                    seen = {name: fp + rng.normal(0, 4, 40) for name in DETECTORS}
                    about = {"dataset": "phantom", "model": model, "recipe": "plain"}
                    about |= {"perturbation": error, "kind": error, "draws": "1", "fold": "phantom"}
                    about |= {"repeat": repeat, "split": split, "tp": 50, "fn": 0}
                    case = np.repeat(np.arange(10), 4).astype(str)
                    parts.append(pd.DataFrame({"fp": fp, "case": case, **seen}).assign(**about))
    return grade_detectors(pd.concat(parts), list(DETECTORS))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("errors", "models"), [(ERRORS, ("unet",)), (ERRORS[:1], ("unet", "segnet"))]
)
def test_curves_are_those_of_the_table_and_fit_the_page(errors, models):
    _, curves = graded(errors, models)
    figure = draw_review(curves, "test")
    check_layout(figure)
    assert len(figure.axes) == len(errors) * len(models)
    here = curves[(curves["split"] == "test") & (curves["unit"] == "slice")]
    here = here[(here["perturbation"] == errors[0]) & (here["model"] == models[0])]
    for detector in (*DETECTORS, IDEAL, RANDOM):
        expected = here.loc[here["detector"] == detector, "label_dice_mean"]
        assert lines(figure.axes[0])[f"_{detector}"].get_ydata() == pytest.approx(expected)
    assert len(texts(figure)) == len(DETECTORS) + 2


def test_without_errors_a_figure_says_so():
    _, curves = graded(ERRORS[:1])
    assert "nothing to mend" in draw_review(curves[:0], "train").texts[0].get_text()


def test_tables_hold_a_column_for_each_detector():
    table, _ = graded(ERRORS[:2])
    tables = review_tables(table)
    by_measure = dict(zip([each.label for each in tables], tables, strict=True))
    (title, cells), (other, _) = by_measure["tab:auroc-slices"].blocks
    assert title == "Phantom; U-Net; plain cross-entropy; labels it was trained on"
    assert other.endswith("; labels it has never seen")
    assert list(cells) == ["perturbation", "wrong", *(name.replace("_", " ") for name in DETECTORS)]
    found = table[(table["unit"] == "slice") & (table["detector"] == "loss")].iloc[0]
    assert cells["loss"][0] == f"{found['auroc_mean']:.2f} ± {found['auroc_sd']:.2f}"
    assert list(by_measure["tab:regained-slices"].blocks[0][1])[-2:] == [IDEAL, RANDOM]
    assert "natural 0.95" in markdown(tables) and r"\toprule" in latex(tables)
