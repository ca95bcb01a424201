"""The answer: sentences that say what the verdicts say, and no more."""

import pandas as pd
import pytest

from drawn_runs import tables
from labelnoise.evaluation.claims import COLUMNS, judge
from labelnoise.evaluation.histograms import THRESHOLDS
from labelnoise.evaluation.power import CASES_DECIDE, UNREACHED
from labelnoise.evaluation.thresholds import thresholds_table
from labelnoise.report.answer import answer_markdown, answer_of, answer_page
from labelnoise.report.render import claims_tables
from labelnoise.study import Claim

UNET = {"dataset": "lis", "model": "unet", "recipe": "labels18"}
COSTS = Claim("costs", "costs", **UNET, error="natural-0.90")
HARMLESS = Claim("harmless", "harmless", **UNET, error="natural-0.90", margin=0.01)


def study_of(lost, **changes):
    """Runs and cases of a study as drawn, and the table of its thresholds."""
    runs, cases = tables(lost, **{"cases": 20, **changes})
    for name in ("perturbed", "best"):
        cases[f"tp_at_{name}"], cases[f"fp_at_{name}"] = cases["tp"], cases["fp"]
    count = cases["case"].nunique()
    runs = runs.assign(cases=count, label_volume_ratio=1 + 0.037 * (runs["kind"] == "natural"))
    runs = runs.assign(**{f"threshold_{name}": 0.9 for name in THRESHOLDS})
    return runs, cases, thresholds_table(runs, cases)


def answered(claims, lost, sources=None, mixed=0, **changes):
    runs, cases, thresholds = study_of(lost, **changes)
    repeats = runs["repeat"].nunique()
    judged = judge(claims, runs, cases, repeats)
    return answer_of(judged, thresholds, runs, sources or {}, mixed), judged


def test_a_loss_is_told_with_what_comes_back_of_it():
    answer, judged = answered([COSTS, HARMLESS], 0.1, given_back=0.8)
    assert answer.counted == "2 claims: 1 supported, 1 refuted, 0 undecided."
    loss, harmless = answer.decided
    estimate = f"{judged['estimate'].iloc[0]:.3f}"
    assert loss.startswith(
        f"Liver CT: natural 0.90, labels of Dice 0.900, costs U-Net {estimate} ["
    )
    assert "of which 0.0" in loss and "threshold that is best on clean validation labels" in loss
    assert harmless.startswith(
        "Liver CT, labels18: it is refuted that U-Net loses less than 0.01 Dice under natural 0.90"
    )
    assert answer.undecided == []


def test_a_threshold_that_gives_nothing_back_is_not_spoken_of():
    answer, _ = answered([COSTS], 0.1, given_back=0.0)
    assert "of which" not in answer.decided[0]


def test_what_is_undecided_is_counted_with_what_it_would_take():
    answer, judged = answered([COSTS, HARMLESS], 0.005)
    assert (judged["verdict"] == "undecided").all()
    assert answer.decided == []
    (told,) = answer.undecided
    assert told.startswith("Liver CT: 2 of 2 claims, ")
    assert "would do" in told or "test cases" in told
    assert "Nothing." in answer_markdown(answer)
    assert any("neither that an error costs nor that it is harmless" in s for s in answer.limits)


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        (["21"], "1 for want of repeats (21 would do)"),
        (["44", "4", "15"], "3 for want of repeats (4 to 44 would do)"),
        (["7", UNREACHED], "2 for want of repeats (7 to more than 100 would do)"),
        ([UNREACHED], "1 for want of repeats (more than 100 would do)"),
        (
            [CASES_DECIDE, "9"],
            "1 for want of test cases, which no number of repeats makes up for; ",
        ),
    ],
)
def test_the_repeats_that_claims_need_are_told_as_a_span(needed, said):
    runs, cases, thresholds = study_of(0.0)
    judged = judge([COSTS], runs, cases, 3).assign(verdict="undecided")
    rows = pd.concat([judged.assign(repeats_needed=text) for text in needed])
    (told,) = answer_of(rows, thresholds, runs, {}).undecided
    assert said in told


def test_gaps_are_told():
    answer, _ = answered([COSTS], 0.1, cases=1)
    assert answer.undecided == ["Liver CT: 1 of 1 claims, 1 since: one test case shows liver."]
    assert "Some intervals say nothing about other cases: one is too few." in answer.limits


def test_recipes_share_a_sentence():
    """Plain cross-entropy is a second recipe of the same network and error, and undecided."""
    runs, cases, thresholds = study_of(0.1)
    judged = judge([COSTS], runs, cases, 3)
    other = judged.assign(recipe="plain", verdict="undecided", repeats_needed="9")
    other = other.assign(estimate=0.01, low=-0.02, high=0.04)
    both = pd.concat([judged, other], ignore_index=True)
    (loss,) = answer_of(both, thresholds, runs, {}).decided
    assert loss.endswith("; under plain cross-entropy it is undecided (0.010 [−0.020, 0.040]).")
    risen = judged.assign(verdict="refuted", estimate=-0.05, low=-0.08, high=-0.02)
    (loss,) = answer_of(risen, thresholds, runs, {}).decided
    assert "costs U-Net nothing under labels18, where Dice rises by 0.050 [0.020, 0.080]" in loss


def test_limits_name_data_volumes_and_mixed_runs():
    answer, _ = answered([COSTS], 0.1, sources={"lis": "phantom", "gone": "mni152"}, mixed=2)
    said = "\n".join(answer.limits)
    assert "U-Net and SegNet, trained by labels18 on Liver CT (20 test cases), 3 times each" in said
    assert "Liver CT is simulated" in said and "averaged brain" not in said
    assert "natural 0.90 on Liver CT 1.04" in said
    assert "2 runs were made otherwise" in said


def test_without_claims_nothing_is_concluded():
    runs, _, thresholds = study_of(0.1)
    answer = answer_of(pd.DataFrame(columns=COLUMNS), thresholds, runs, {})
    assert answer.counted.startswith("No claims are declared")
    assert answer.decided == answer.undecided == []
    assert not any("undecided" in limit for limit in answer.limits)


@pytest.mark.parametrize("structure", ["liver", "<b>{{ x }} & y</b>"])
def test_the_page_shows_sentences_claims_and_figure_escaped(structure):
    answer, judged = answered([COSTS], 0.1)
    judged = judged.assign(structure=structure)
    page = answer_page(answer, claims_tables(judged), b"PNG" * 9000)
    head, body = page.split(".. raw:: html\n\n")
    assert head.startswith("What the study says\n===")
    assert body.strip().startswith("{% raw %}") and body.strip().endswith("{% endraw %}")
    # docutils refuses longer ones, and ends the block at one that is not indented.
    assert max(map(len, page.splitlines())) < 10_000
    assert all(line.startswith("   ") for line in body.strip("\n").splitlines())
    places = [body.index(text) for text in ("1 claim:", "<h2>Decided", "data:image", "<table")]
    assert places == sorted(places) and "cannot say" in body
    assert "<b>" not in body and "UE5H" in body


def test_what_a_dataset_was_made_from_and_lost_is_told():
    runs, _, thresholds = study_of(0.1)
    structures = {
        "liver": {"slices": [8, 8], "volume": [1000.0, 999.0], "cut": 0.0},
        "adrenals": {"slices": [15, 13], "volume": [200.0, 150.0], "cut": 0.0},
    }
    provenance = {
        "content": {"files": 2, "bytes": 12345, "sha256": "ab12"},
        "resizing": {"unit": "mm3", "slices_dropped": 2, "structures": structures},
        "unsquare_pixels": {"cases": 1, "mm": [1.0, 3.0]},
        "saturation": {"cases": 3, "limit": 0.05},
    }
    answer = answer_of(pd.DataFrame(columns=COLUMNS), thresholds, runs, {}, 0, {"lis": provenance})
    assert answer.data == [
        "lis: 2 files of 12,345 bytes, SHA-256 ab12.",
        "Liver CT, adrenals: resizing kept 13 of 15 slices and 75.0 % of the volume.",
        "Liver CT: resizing kept 8 of 8 slices and 99.9 % of the volume.",
        "Liver CT: the stored pixels of 1 case are not square, such as 1 x 3 mm.",
        "Liver CT: 3 cases saturated: more than 5 % of the pixels lie beyond the intensities that "
        "are stored.",
    ]
    told = answer_markdown(answer)
    assert "made from, and what preparing them lost" in told and "75.0 %" in told
    # A dataset of which nothing is to be told has no lines.
    quiet = answer_of(
        pd.DataFrame(columns=COLUMNS), thresholds, runs, {}, 0, {"lis": {"saturation": {}}}
    )
    assert quiet.data == [] and "made from" not in answer_markdown(quiet)
