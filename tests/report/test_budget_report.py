"""What cases and care buy, told: sentences, tables and the figure say what the plans hold."""

import numpy as np
import pytest

from budgets import BUDGET, FLAT, GROUPS, study
from figure_checks import check_layout, lines, texts
from labelnoise.evaluation import budget
from labelnoise.evaluation.budget import study_budget
from labelnoise.report.budget import budget_sentences, budget_tables
from labelnoise.report.figures.budget import draw_budget
from labelnoise.report.render import latex, markdown


@pytest.fixture(scope="module")
def fitted():
    """Function that fits a made-up study for a wanted Dice, with few samples."""

    def fit(wanted=0.95, **changes):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(budget, "SAMPLES", 40)
            return study_budget(*study(**changes), BUDGET | {"wanted": wanted}, GROUPS)

    return fit


def test_sentences_say_the_cheapest_plan_and_what_no_cases_make_up_for(fitted):
    _, plans, _ = fitted()
    first, *others = budget_sentences(plans)
    best = plans[plans["cheapest"]].iloc[0]
    assert first.startswith(
        "Phantom, liver, U-Net: a test Dice of 0.950 costs least with labels thick-0.90 (label "
        f"Dice 0.900): {best['cases']:.0f} ["
    )
    assert f"cases at 35 each, {best['price']:,.0f} [" in first and "extrapolated" not in first
    control, never, *worth = others
    assert "with labels control (label Dice 1.000) it takes" in control
    assert "no number of cases makes up for labels thick-0.80 (label Dice 0.800)" in never
    assert never.endswith(", extrapolated.")
    assert "32 cases with labels thick-0.90 (label Dice 0.900) are worth" in worth[0]
    assert len(worth) == 2


def test_what_is_extrapolated_is_marked_in_sentence_and_table(fitted):
    surface, plans, _ = fitted(0.957)
    row = plans.set_index("perturbation").loc["thick-0.90"]
    assert row["extrapolated"] and np.isfinite(row["cases"])
    (sentence,) = [each for each in budget_sentences(plans) if "thick-0.90" in each][:1]
    assert "extrapolated beyond the 2 to 32 cases measured" in sentence
    cells = budget_tables(surface, plans)[0].blocks[0][1].set_index("labels")["cases"]
    assert cells["thick-0.90"].endswith(" *") and not cells["control"].endswith("*")
    assert cells["thick-0.80"] == "–"


def test_data_that_do_not_carry_a_curve_say_so(fitted):
    surface, plans, curves = fitted(0.85, curve=FLAT)
    first, *measured = budget_sentences(plans)
    assert "do not tell by which power Dice rises" in first
    # 0.90, 0.89 and 0.85, give or take: the cheapest are two cases.
    assert "2 with labels control reach a test Dice of 0.850, for 160" in measured[0]
    assert "do not tell by which power" in budget_tables(surface, plans)[0].caption
    shown = [
        text.get_text()
        for panel in draw_budget(surface, plans, curves).axes[1:]
        for text in panel.texts
    ]
    assert shown == ["not identified", "not identified"]


def test_a_dice_that_no_labels_reach_is_told(fitted):
    surface, plans, curves = fitted(0.99)
    first = budget_sentences(plans)[0]
    assert "no labels give a test Dice of 0.990 with up to 10 times the 2 to 32 cases" in first
    assert draw_budget(surface, plans, curves).axes[-1].texts[0].get_text() == "not reached"


def test_tables_hold_every_error_and_number_of_cases(fitted):
    surface, plans, _ = fitted()
    tables = budget_tables(surface, plans, mixed=2)
    assert [each.label for each in tables] == ["tab:budget-plans", "tab:budget-fit", "tab:budget"]
    assert "2 of the runs" in tables[0].caption
    ((title, cells),) = tables[2].blocks
    assert title == "Phantom, liver, U-Net; cases"
    assert list(cells)[2:] == [f"{number} cases" for number in (2, 4, 8, 16, 32)]
    row = surface.iloc[0]
    assert cells["2 cases"][0].startswith(f"{row['dice']:.3f} [{row['low']:.3f}, ")
    assert "thick-0.80" in markdown(tables) and r"\toprule" in latex(tables)


@pytest.mark.filterwarnings("error")
def test_the_figure_is_of_the_tables_and_fits_the_page(fitted):
    surface, plans, curves = fitted()
    figure = draw_budget(surface, plans, curves)
    check_layout(figure)
    drawn = lines(figure.axes[0])
    line = curves[curves["perturbation"] == "thick-0.80"]
    within = line[~line["extrapolated"]]
    assert drawn["thick-0.80"].get_ydata() == pytest.approx(within["dice"])
    assert drawn["thick-0.80"].get_linestyle() == "-"
    beyond = drawn["_thick-0.80 beyond"]
    assert beyond.get_linestyle() == "--"
    assert beyond.get_xdata()[0] == 32 and beyond.get_xdata()[-1] == 4 * 32
    # Along a line of equal Dice the curve has that Dice: solid where it was measured.
    equal = lines(figure.axes[1])["_0.95"]
    cases, label_dice = (np.array(data, float) for data in (equal.get_xdata(), equal.get_ydata()))
    inside = np.isfinite(cases)
    rows = plans.set_index("perturbation")
    end, scale = (
        np.interp(label_dice, rows["label_dice"][::-1], rows[name][::-1])
        for name in ("ends_at", "scale")
    )
    dice = end - scale * cases ** -plans["power"].iloc[0]
    assert dice[inside] == pytest.approx(0.95) and inside.any() and not inside.all()
    assert (cases[inside] >= 2).all() and (cases[inside] <= 32).all()
    names = [text.get_text() for text in figure.axes[-1].get_yticklabels()]
    assert names[0] == "thick-0.90" and names[-1] == "thick-0.80"
    assert {"control", "thick-0.80", "extrapolated", "wanted test Dice"} <= set(texts(figure))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "changes",
    [
        {"models": ("unet", "a-network-of-a-rather-long-name" * 2), "dataset": "x" * 90},
        {"repeats": 1, "test_cases": 1},
    ],
)
def test_the_figure_of_odd_studies_fits_the_page(fitted, changes):
    figure = draw_budget(*fitted(**changes))
    check_layout(figure)
    assert ("95 % interval (repeats, cases)" in texts(figure)) is ("models" in changes)
    assert len(figure.axes) == 3 * len(changes.get("models", "1"))
