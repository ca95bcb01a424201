"""Every figure of small, large and odd studies: no text leaves the page or overlaps another."""

from functools import cache

import numpy as np
import pytest

from figure_checks import check_layout, check_texts, lines, texts
from labelnoise.report import style
from labelnoise.report.figures import canvas
from labelnoise.report.figures.degradation import draw_degradation
from labelnoise.report.figures.mitigation import draw_mitigation
from labelnoise.report.figures.overlay import Overlay
from labelnoise.report.figures.perturbations import disc, draw_perturbations
from labelnoise.report.figures.predictions import draw_predictions
from labelnoise.report.figures.roc import draw_roc
from labelnoise.report.figures.runs import draw_runs
from labelnoise.report.figures.slopes import draw_slopes
from labelnoise.report.figures.thresholds import draw_thresholds
from odd_studies import STUDIES, OddStudy

FIGURES = {
    "degradation": lambda study: draw_degradation(study.degradation, study.runs),
    "runs": lambda study: draw_runs(study.runs),
    "slopes": lambda study: draw_slopes(study.slopes),
    "thresholds": lambda study: draw_thresholds(study.thresholds),
    "answer": lambda study: draw_thresholds(study.thresholds, ceilings=False),
    "roc": lambda study: draw_roc(study.curves),
    "mitigation": lambda study: draw_mitigation(study.mitigation, study.runs["recipe"].iloc[0]),
}
# Figures of large studies that look as others do, and take long to lay out.
ALIKE = {
    "1 x 1 x 1, one repeat": {"runs", "thresholds", "answer", "roc"},
    "10 recipes": {"slopes", "thresholds", "answer"},
    "10 networks": {"thresholds", "roc", "mitigation"},
    "10 kinds": {"thresholds", "roc"},
    "10 sizes": {"degradation", "slopes", "thresholds", "answer", "mitigation"},
    "4 x 4 x 4": {"answer", "mitigation"},
    "draws": {"thresholds", "mitigation"},
    "long names": {"answer"},
}
DRAWN = [
    (name, figure) for name in STUDIES for figure in FIGURES if figure not in ALIKE.get(name, ())
]


@pytest.fixture(scope="session")
def odd():
    """Function that makes an odd study, once."""
    return cache(lambda name: OddStudy(**STUDIES[name]))


@pytest.fixture(scope="session")
def figure_of(odd):
    """Function that draws a figure of an odd study, once."""
    return cache(lambda name, figure: FIGURES[figure](odd(name)))


@pytest.mark.parametrize(("name", "figure"), DRAWN)
@pytest.mark.filterwarnings("error")
def test_no_text_leaves_the_page_or_overlaps(figure_of, name, figure):
    drawn = figure_of(name, figure)
    assert drawn.get_figwidth() in (canvas.COLUMN_WIDTH, canvas.PAGE_WIDTH)
    if drawn.axes:
        check_layout(drawn)
    else:
        check_texts(drawn)


@pytest.mark.parametrize(
    ("draw", "name", "columns"),
    [
        (draw_perturbations, "natural 0.85", 1),
        (draw_perturbations, "natural 0.85, 10 cycled", 10),
        (draw_perturbations, "own.a-name-of-many-letters-0.85", 2),
        (draw_perturbations, "own.a-name-of-many-letters-0.85", 12),
        (draw_predictions, "natural 0.85, 10 cycled", 5),
        (draw_predictions, "own.a-name-of-many-letters-0.85", 1),
    ],
)
def test_galleries_fit_the_page(draw, name, columns):
    reference = disc(24)
    shown = Overlay(name, None, reference, np.roll(reference, 3))
    titles = ["disc", "1.2.840.113619.2.55.3.2831868886.717.1419.1.4, slice 113"]
    figure = draw([[shown] * columns] * 2, titles)
    check_layout(figure)
    assert len(figure.axes) == 2 * columns
    assert figure.get_figheight() < 9


def test_a_gallery_of_one_error_stands_side_by_side():
    reference = disc(24)
    row = [Overlay("natural 0.85", None, reference, reference)]
    figure = draw_perturbations([row] * 3, ["disc", "slice A", "slice B"])
    assert [panel.get_title() for panel in figure.axes] == ["disc", "slice A", "slice B"]
    assert [panel.get_ylabel() for panel in figure.axes] == ["natural 0.85", "", ""]
    assert figure.get_figheight() < 2


def test_a_swatch_has_the_line_that_is_drawn():
    study = OddStudy(recipes=("plain",))
    figure = FIGURES["degradation"](study)
    drawn = lines(figure.axes[0])["unet plain"]
    swatch = figure.legends[0].get_lines()[0]
    for of in ("get_linestyle", "get_fillstyle", "get_marker", "get_color"):
        assert getattr(swatch, of)() == getattr(drawn, of)()


@pytest.mark.parametrize("figure", ["degradation", "runs"])
def test_equal_scores_stand_on_an_axis_of_possible_ones(figure_of, figure):
    low, high = figure_of("zeros", figure).axes[0].get_ylim()
    assert -0.01 < low < 0 and high > 0.1
    low, high = figure_of("undefined", figure).axes[0].get_ylim()
    assert low < 0 and high > 1


def test_no_drops_stand_on_an_axis_with_room(figure_of):
    low, high = figure_of("zeros", "answer").axes[0].get_xlim()
    assert low < 0 and high == pytest.approx(0.1)


@pytest.mark.parametrize("figure", ["degradation", "runs", "slopes", "roc", "thresholds"])
def test_a_panel_without_scores_says_so(figure_of, figure):
    drawn = figure_of("undefined", figure)
    said = [text.get_text() for panel in drawn.axes for text in panel.texts]
    assert said == ["no scores"] or "no drops" in drawn.texts[0].get_text()


def test_a_panel_of_a_pair_that_does_not_go_together_says_so(odd, figure_of):
    drawn = figure_of("pairs", "roc")
    said = [[text.get_text() for text in panel.texts] for panel in drawn.axes]
    assert said == [[], ["no runs"], ["no runs"], []]
    table = odd("pairs").degradation
    assert set(zip(table["model"], table["recipe"], strict=True)) == {
        ("unet", "plain"),
        ("nnunet", "own"),
    }
    figure = figure_of("pairs", "degradation")
    drawn = lines(figure.axes[0])
    for pair, swatch in zip(
        ("unet plain", "nnunet own"), figure.legends[0].get_lines(), strict=False
    ):
        assert drawn[pair].get_linestyle() == swatch.get_linestyle()
        assert drawn[pair].get_color() == swatch.get_color()


def cuts(panel):
    """Places of the arrowheads of a panel, by their markers."""
    found = [line for line in panel.lines if line.get_label() == "_cut"]
    return {line.get_marker(): line.get_xydata().tolist() for line in found}


def test_an_interval_that_leaves_its_panel_ends_in_an_arrowhead(odd, figure_of):
    study = odd("1 x 1 x 1")
    table = study.degradation.assign(dice_low=[0.5, -3.0], dice_high=[4.0, 0.9])
    panel = draw_degradation(table, study.runs).axes[0]
    low, high = panel.get_ylim()
    up, down = canvas.CARETUP, canvas.CARETDOWN
    assert cuts(panel) == {up: [[1.0, high]], down: [[pytest.approx(0.851), low]]}
    wide = study.thresholds.assign(drop_low=-9.0, drop_high=9.0)
    panel = draw_thresholds(wide).axes[0]
    low, high = panel.get_xlim()
    assert {marker: {x for x, _ in at} for marker, at in cuts(panel).items()} == {
        canvas.CARETLEFT: {low},
        canvas.CARETRIGHT: {high},
    }
    # The bars still are what is seen.
    assert high - low < 3 * study.thresholds["drop_mean"].max()
    slopes = study.slopes.assign(slope_low=-9.0, slope_high=9.0)
    assert set(cuts(draw_slopes(slopes).axes[0])) == {canvas.CARETLEFT, canvas.CARETRIGHT}
    assert not any(
        cuts(figure_of("1 x 1 x 1", name).axes[0]) for name in ("degradation", "thresholds")
    )


def test_the_figure_of_drops_leaves_out_an_error_without_scores():
    table = OddStudy(kinds=("natural", "choppy"), models=("unet", "segnet")).thresholds
    table.loc[table["kind"] == "choppy", ["drop_mean", "drop_low", "drop_high"]] = np.nan
    labels = [text.get_text() for text in draw_thresholds(table).axes[0].get_yticklabels()]
    assert labels == ["U-Net, natural 0.85", "SegNet, natural 0.85"]


def test_kinds_with_unknown_names_look_the_same_in_every_figure():
    """Colours of kinds do not depend on whether the control is shown."""
    kinds = {f"kind{number}" for number in range(10)}
    with_control = style.kinds([*kinds, "control"])
    assert {kind: with_control[kind] for kind in kinds} == style.kinds(kinds)
    assert len(set(with_control.values())) == 11


@pytest.fixture
def drawn(odd):
    """The study of fixed, cycled and fresh natural and choppy errors."""
    return odd("draws")


def test_degradation_has_a_panel_for_each_way_to_draw(drawn, figure_of):
    figure = figure_of("draws", "degradation")
    ways = ["fixed", "10 cycled", "fresh"]
    titles = [f"{kind}, {way}" for kind in ("natural", "choppy") for way in ways]
    assert [panel.get_title() for panel in figure.axes] == titles
    table = drawn.degradation
    table = table[(table["model"] == "unet") & (table["recipe"] == "plain")]
    errors = [(kind, draws) for kind in ("natural", "choppy") for draws in ("1", "10", "per_epoch")]
    for panel, (kind, draws) in zip(figure.axes, errors, strict=True):
        rows = table[(table["kind"] == kind) & (table["draws"] == draws)]
        control = table.loc[table["kind"] == "control", "dice_mean"]
        plotted = lines(panel)["unet plain"].get_ydata()
        assert plotted == pytest.approx([*control, *rows["dice_mean"]])


def test_slopes_have_a_dot_for_each_way_to_draw(drawn, figure_of):
    figure, table = figure_of("draws", "slopes"), drawn.slopes
    panel = figure.axes[0]
    here = table[(table["recipe"] == "labels18") & (table["model"] == "segnet")]
    dots = [lines(panel)[f"_segnet natural{tail}"] for tail in ("", " 10", " per_epoch")]
    expected = here.loc[here["kind"] == "natural", "slope"]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx(expected.tolist())
    assert (
        len({dot.get_ydata()[0] for dot in dots}) == len({dot.get_fillstyle() for dot in dots}) == 3
    )
    assert texts(figure)[:3] == ["natural, fixed", "natural, 10 cycled", "natural, fresh"]


def test_runs_have_a_fill_for_each_way_to_draw(figure_of):
    figure = figure_of("draws", "runs")
    dots = {line.get_label(): line.get_fillstyle() for line in figure.axes[0].lines}
    fills = [dots[f"_unet natural-0.85{tail}"] for tail in ("", "-10", "-per_epoch")]
    assert fills == ["full", "top", "left"] and dots["_unet control"] == "full"
    said = ["fixed draws", "10 cycled draws", "fresh draws"]
    assert [text for text in texts(figure) if "draws" in text] == said


def test_roc_has_a_line_style_for_each_way_to_draw(drawn, figure_of):
    figure = figure_of("draws", "roc")
    names = drawn.curves["perturbation"].unique()
    looks = [lines(figure.axes[0])[f"_{name}"] for name in names]
    seen = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in looks}
    assert len(seen) == len(looks) == 7
    assert texts(figure)[1] == "natural 0.85, fixed"


def test_bars_tell_how_their_labels_are_drawn(figure_of):
    panel = figure_of("draws", "answer").axes[0]
    names = [text.get_text() for text in panel.get_yticklabels()]
    assert names[0] == "U-Net, natural 0.85, fixed" and len(set(names)) == len(names) == 12
