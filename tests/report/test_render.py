"""Tables as Markdown and LaTeX: which cells stand where, dashes, signs and captions."""

import numpy as np
import pandas as pd
import pytest

from labelnoise.evaluation.claims import definition
from labelnoise.evaluation.tables import degradation_table
from labelnoise.report.paper import compare_with_paper, slopes_beside_paper
from labelnoise.report.render import (
    claims_tables,
    degradation_tables,
    interval,
    latex,
    markdown,
    mitigation_tables,
    slopes_tables,
    table1_tables,
)
from labelnoise.report.style import perturbations_of
from labelnoise.study import Claim
from latex_checks import ENGINES, compile_tables
from odd_studies import OddStudy
from runs_tables import cases_of, proportional_runs, runs_of
from synthetic_runs import matrix


def degradation_of(runs, cases=("a", "b", "c")):
    """The table of cells, from runs of equal cases."""
    return degradation_table(runs.assign(cases=len(cases)), cases_of(runs, cases))


def slopes_of(runs):
    """The table of slopes, from runs of equal cases."""
    return slopes_beside_paper(runs, cases_of(runs))


@pytest.fixture
def runs():
    """Runs of two networks, of which the paper has one."""
    return proportional_runs()


@pytest.fixture
def study():
    """Degradation table of 2 recipes and 2 networks; SegNet lacks one perturbation."""
    offsets = {"unet": 0.9, "segnet": 0.8, "plain": 0.01, "labels18": 0.0}

    def dice_of(run):
        return (
            offsets[run["model"]]
            + offsets[run["recipe"]]
            - 0.05 * (run["kind"] == "natural")
            + 0.002 * run["repeat"]
        )

    runs = matrix(("lis",), ("segnet", "unet"), ("labels18", "plain"), repeats=3)
    lacking = ("segnet", "natural", "plain")
    runs = [run for run in runs if (run["model"], run["kind"], run["recipe"]) != lacking]
    return degradation_of(runs_of(dice_of, runs))


def test_wide_markdown_has_a_block_a_recipe_and_a_column_a_network(study):
    text = markdown(degradation_tables(study)[:1])
    assert text.index("**Liver CT; recipe labels18**") < text.index("recipe plain cross-entropy**")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["perturbation", "label Dice", "U-Net", "SegNet"] in rows
    assert ["control", "1.000", "0.9020 ± 0.0020", "0.8020 ± 0.0020"] in rows
    assert ["natural 0.95", "0.950", "0.8620 ± 0.0020", "–"] in rows
    assert "n = 3 repeats" in text
    assert "standard deviation" in text


def test_long_markdown_gives_interval_and_paired_drop():
    frame = runs_of(
        lambda run: 0.9 - 0.05 * (run["kind"] == "natural") + 0.002 * run["repeat"], matrix()
    )
    text = markdown(degradation_tables(degradation_of(frame))[1:])
    # Equal cases and two cells, too few for a prior: the t-interval over three repeats.
    half = 4.302653 * 0.002 / np.sqrt(3)
    assert f"0.852 [{0.852 - half:.3f}, {0.852 + half:.3f}]" in text
    assert "0.050 [0.050, 0.050]" in text
    assert "95 % interval over 3 repeats and 3 test cases, not corrected" in text


@pytest.mark.parametrize(
    ("repeats", "cases", "said"),
    [
        (2, "ab", "over 2 repeats and 2 test cases, not"),
        (1, "ab", "over 1 repeat and 2 test cases; with one repeat it says nothing about other"),
        (2, "a", "over 2 repeats and 1 test case; with one test case it says nothing about other"),
        (1, "a", "over 1 repeat and 1 test case; with one repeat and one test case there is none"),
    ],
)
def test_a_caption_says_what_the_intervals_leave_out(repeats, cases, said):
    frame = runs_of(lambda run: 0.8 + 0.01 * run["repeat"], matrix(("lis",), repeats=repeats))
    table = degradation_of(frame, cases)
    assert f"95 % interval {said}" in degradation_tables(table)[1].caption
    beside = table1_tables(compare_with_paper(table))[1].caption.replace("] beside", ", not")
    assert f"95 % interval {said}" in beside


def test_a_caption_says_what_the_interval_of_some_drops_leaves_out():
    listed = [run for run in matrix(repeats=3) if run["kind"] != "control" or run["repeat"] < 1]
    frame = runs_of(lambda run: 0.8 + 0.01 * run["repeat"], listed)
    caption = degradation_tables(degradation_of(frame))[1].caption
    assert "over 1 to 3 repeats and 3 test cases; with one repeat it says" in caption


def test_long_markdown_has_a_row_a_cell(study):
    for table in degradation_tables(study)[1:]:
        assert markdown([table]).count("\n| U-Net") == 4


def test_wide_latex_is_one_booktabs_table(study):
    text = latex(degradation_tables(study)[:1])
    for command in [r"\toprule", r"\bottomrule", r"\begin{tabular}{llll}", r"\label{tab:dice}"]:
        assert text.count(command) == 1
    assert r"control & 1.000 & 0.9020 $\pm$ 0.0020 & 0.8020 $\pm$ 0.0020 \\" in text
    assert r"natural 0.95 & 0.950 & 0.8620 $\pm$ 0.0020 & -- \\" in text
    assert "n = 3 repeats" in text
    assert text.isascii()


def test_long_latex_has_a_table_a_block_of_equal_columns(study):
    text = latex(degradation_tables(study)[1:2])
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    assert r"95 \% interval over 3 repeats and 3 test cases" in text
    assert r"\label{tab:degradation-1}" in text and r"\label{tab:degradation-2}" in text
    assert {line.count(" & ") for line in text.splitlines() if line.endswith(r"\\")} == {8}
    assert text.isascii()


def test_latex_escapes_names(study):
    odd = study.assign(model="my_net#1", structure="50%_{x}\n<y>|z", dataset="a&b")
    text = latex(degradation_tables(odd))
    assert r"my\_net\#1" in text
    assert r"a\&b, 50\% \{x\} $<$y$>$$|$z" in text


def test_drops_below_0_have_a_minus_sign():
    frame = runs_of(lambda run: 0.8 + 0.1 * (run["kind"] == "natural"), matrix(repeats=2))
    tables = degradation_tables(degradation_of(frame))
    assert "−0.100 [−0.100, −0.100]" in markdown(tables)
    assert "$-$0.100 [$-$0.100, $-$0.100]" in latex(tables)


def test_what_is_not_known_is_a_dash():
    runs = [run for run in matrix(repeats=1) if run["kind"] != "control"]
    tables = degradation_tables(degradation_of(runs_of(lambda run: 0.8, runs)))
    text = markdown(tables)
    assert "| –" in text
    assert "nan" not in text + latex(tables)
    assert "n = 1 repeat" in text


def test_table_1_as_markdown(runs):
    text = markdown(table1_tables(compare_with_paper(degradation_of(runs))))
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["perturbation", "label Dice", "U-Net", "U-Net, paper", "mine"] in rows
    natural = ["natural 0.90", "0.900", "0.8000 ± 0.0000", "0.8193 (−0.0193)", "0.8000 ± 0.0000"]
    assert natural in rows
    long = next(row for row in rows if row[:2] == ["U-Net", "natural 0.90"])
    assert long[2:5] == ["3", "0.900", "1.020"] and long[6:8] == ["0.8193", "−0.0193"]
    assert long[8].startswith("0.110 [") and long[9:] == ["0.094", "+0.0159"]
    mine = next(row for row in rows if row[:2] == ["mine", "natural 0.90"])
    assert mine[6:8] == ["–", "–"]
    assert "arXiv 1806.04618, Table 1" in text and "on liver CT" in text
    assert "n = 3 repeats" in text


def test_a_study_without_the_papers_data_has_no_paper_beside_it():
    runs = proportional_runs(datasets=("phantom",))
    text = markdown(table1_tables(compare_with_paper(degradation_of(runs))))
    assert text == "The paper's Table 1 is of liver CT (lis), which this study has not.\n"
    slopes = markdown(slopes_tables(slopes_of(runs)))
    assert "paper" not in slopes and "| U-Net" in slopes


def test_slopes_as_markdown():
    # Two networks, one slope each: too few for a prior, so t-intervals over the repeats' slopes.
    runs = proportional_runs(kinds=("natural",))
    text = markdown(slopes_tables(slopes_of(runs)))
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines()]
    assert [
        "U-Net",
        "natural",
        "3",
        "9",
        "1.100 [0.852, 1.348]",
        "0.996",
        "1.447",
        "+0.104",
    ] in rows
    assert ["mine", "natural", "3", "9", "1.100 [0.852, 1.348]", "–", "–", "–"] in rows
    assert "95 % interval over 3 repeats and 3 test cases" in text


def test_latex_tables_are_whole(runs):
    comparison = compare_with_paper(degradation_of(runs))
    for tables in [table1_tables(comparison), slopes_tables(slopes_of(runs))]:
        text = latex(tables)
        for name in ["table", "tabular"]:
            assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == len(tables)
        assert text.count(r"\label{tab:") == len(tables)
        assert text.isascii()


def test_a_study_without_errors_says_so_in_place_of_slopes_of(runs):
    tables = slopes_tables(slopes_of(runs[runs["kind"] == "control"]))
    assert markdown(tables).startswith("No label error") and "no slopes" in markdown(tables)
    assert "\n% No label error" in latex(tables)


def test_every_caption_says_how_many_runs_were_made_otherwise(study, runs):
    tables = [
        *degradation_tables(study, 3),
        *table1_tables(compare_with_paper(degradation_of(runs)), 3),
        *slopes_tables(slopes_of(runs), 3),
    ]
    assert len(tables) == 6
    assert all("3 of the runs behind these numbers" in table.caption for table in tables)
    assert "made by other code" not in markdown(degradation_tables(study))


def claims_table():
    """A row of each kind, of which the last has a gap."""
    unet = {"dataset": "lis", "model": "unet", "recipe": "labels18"}
    natural = {**unet, "error": "natural-0.85"}
    claims = [
        Claim("a", "costs", **natural),
        Claim("b", "harmless", **natural, margin=0.01),
        Claim("c", "worse", **natural, than=("segnet", "labels18", "natural-0.85")),
        Claim("d", "worse", **natural, than=("unet", "plain", "random-0.85")),
        Claim("e", "slope", **unet, error="choppy", above=1.0),
        Claim("f", "threshold", **natural, share=0.5, at="clean"),
        Claim("g", "costs", **natural, measure="hd95"),
        Claim("h", "harmless", **natural, measure="surface_dice", margin=0.02),
        Claim("j", "helps", **natural, than=("unet", "plain", "natural-0.85")),
        Claim("k", "helps", **natural, than=("segnet", "plain", "natural-0.85"), measure="hd95"),
        Claim("l", "helps", **natural, at="perturbed"),
        Claim("i", "slope", **unet, error="choppy", below=0.5),
    ]
    rows = [definition(claim, "liver") for claim in claims]
    numbers = {"estimate": 0.1, "low": 0.05, "high": 0.15, "p_adjusted": 2e-5}
    numbers |= {"smallest_effect": 0.07, "n": 3, "cases": 8}
    table = pd.DataFrame(rows).assign(verdict="supported", repeats_needed="", gap="", **numbers)
    last = table.index == len(table) - 1
    table.loc[last, list(numbers)] = np.nan
    table.loc[last, ["verdict", "gap"]] = ["undecided", "one repeat"]
    return table


def test_claims_are_told_in_words_with_their_verdicts():
    text = markdown(claims_tables(claims_table()))
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines()]
    answer = ["supported", "0.100 [0.050, 0.150]", "< 0.001", "0.070", "–"]
    for sentence in (
        "U-Net loses Dice under natural 0.85",
        "U-Net loses less than 0.01 Dice under natural 0.85",
        "U-Net loses more Dice under natural 0.85 than SegNet",
        "U-Net loses more Dice under natural 0.85 than under random 0.85 with recipe plain "
        "cross-entropy",
        "U-Net loses more than 1 Dice for each label Dice lost under choppy errors",
        "half or more of what U-Net loses under natural 0.85 comes back at the threshold that is "
        "best on clean validation labels",
        "U-Net's HD95 grows under natural 0.85",
        "U-Net loses less than 0.02 surface Dice under natural 0.85",
        "U-Net's Dice under natural 0.85 is higher than with recipe plain cross-entropy",
        "U-Net's HD95 under natural 0.85 is lower than with SegNet and recipe plain cross-entropy",
        "U-Net's Dice under natural 0.85 at the threshold that is best on perturbed validation "
        "labels is higher than at a probability of 0.5",
    ):
        assert [sentence, *answer] in rows
    sentence = "U-Net loses less than 0.5 Dice for each label Dice lost under choppy errors"
    assert [sentence, "undecided: one repeat", *"––––"] in rows
    assert "over 3 repeats and 8 test cases" in text and "all 12 rows" in text
    tex = latex(claims_tables(claims_table()))
    assert r"\begin{tabular}{>{\raggedright\arraybackslash}p{0.36\textwidth}lllll}" in tex
    assert tex.isascii() and r"\label{tab:claims}" in tex and "$<$ 0.001" in tex


# Names as a config may have them, and structures as a dataset.json may.
NASTY = {
    "model": {"unet": "U_Net-2.0", "segnet": "a" * 100},
    "recipe": {"plain": "focal_of_gamma_2"},
    "structure": {"liver": "50 % of <Leber> & Müllers\n\nniño | #1_{x}^2 ~ C:\\\\new $5"},
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("names", [{}, NASTY], ids=["usual", "nasty"])
def test_latex_compiles_and_fits_the_page(tmp_path, engine, names):
    models, datasets = ("unet", "segnet", "fcn32"), ("phantom", "mni152")
    runs = pd.concat(
        proportional_runs(models, datasets, noise=0.01).assign(recipe=recipe)
        for recipe in ("labels18", "plain")
    ).replace(names)
    cells = degradation_of(runs)
    controls = slopes_of(runs[runs["kind"] == "control"])
    tables = {
        "degradation": degradation_tables(cells, 3),
        "table1": table1_tables(compare_with_paper(cells), 3),
        "slopes": slopes_tables(slopes_of(runs)),
        "none": slopes_tables(controls),
        "claims": claims_tables(claims_table().replace(names)),
    }
    paths = [tmp_path / f"{name}.tex" for name in tables]
    for path in paths:
        path.write_text(latex(tables[path.stem]), encoding="utf-8")
    assert compile_tables(tmp_path, engine, paths) == []


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("text", "wrong"),
    [(r"\nosuchcommand", "Undefined control sequence"), (r"\rule{9in}{1pt}", "Overfull")],
)
def test_what_does_not_compile_is_noticed(tmp_path, engine, text, wrong):
    path = tmp_path / "table.tex"
    path.write_text(f"% none\n\\noindent {text}\n")
    assert wrong in " ".join(compile_tables(tmp_path, engine, [path]))


def test_a_caption_does_not_blame_repeats_where_scores_are_undefined():
    frame = runs_of(lambda run: np.nan, matrix(("lis",), repeats=2))
    caption = degradation_tables(degradation_of(frame))[1].caption
    assert "3 test cases; where scores are undefined there is none, not" in caption
    assert "one repeat" not in caption


@pytest.fixture
def drawn():
    """Fixed, cycled and fresh natural errors, and fixed choppy ones, of two repeats."""
    listed = matrix(("lis",), kinds=("natural", "choppy"), sizes=(0.9,), repeats=2)
    for name, draws in (("natural-0.90-fresh", "per_epoch"), ("again", 10)):
        listed += [
            {**run, "perturbation": name, "draws": draws}
            for run in listed
            if run["perturbation"] == "natural-0.90"
        ]
    lost = {"1": 0.1, "10": 0.07, "per_epoch": 0.04}
    drops = {"control": lambda run: 0, "choppy": lambda run: 0.02}
    drops["natural"] = lambda run: lost[str(run.get("draws", 1))]
    return runs_of(lambda run: 0.9 - drops[run["kind"]](run), listed)


def test_tables_tell_fixed_draws_from_fresh_ones(drawn):
    text = markdown(degradation_tables(degradation_of(drawn)))
    for name in ("natural 0.90, fixed", "again, 10 cycled", "natural 0.90-fresh", "choppy 0.90"):
        assert text.count(f" {name} ") == 3
    slopes = markdown(slopes_tables(slopes_of(drawn)))
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in slopes.splitlines()]
    found = {row[1]: (row[3], row[4].split(" ")[0]) for row in rows if len(row) > 4}
    assert found["natural, fixed"] == ("2", "1.000")
    assert found["natural, 10 cycled"] == ("2", "0.700")
    assert found["natural, fresh"] == ("2", "0.400")
    assert found["choppy"] == ("2", "0.200")
    assert "all errors of a kind that are drawn alike, in pairs" in slopes


def test_claims_tell_fixed_draws_from_fresh_ones(drawn):
    unet = {"dataset": "lis", "model": "unet", "recipe": "labels18"}
    claims = [
        Claim("a", "slope", **unet, error="natural", draws="per_epoch", above=1.0),
        Claim("b", "worse", **unet, error="natural-0.90", than=("unet", "labels18", "again")),
    ]
    rows = pd.DataFrame([definition(claim, "liver") for claim in claims])
    numbers = dict.fromkeys(("estimate", "low", "high", "p_adjusted", "smallest_effect"), 0.1)
    rows = rows.assign(verdict="undecided", repeats_needed="", gap="", n=2, cases=3, **numbers)
    text = markdown(claims_tables(rows, 0, perturbations_of(drawn)))
    assert "loses more than 1 Dice for each label Dice lost under fresh natural errors" in text
    assert "loses more Dice under natural 0.90, fixed than under again, 10 cycled" in text


def test_a_table_of_mitigations_is_in_blocks_of_an_error():
    study = OddStudy(
        kinds=("natural", "random"), recipes=("plain", "gce"), sizes=(0.85,), repeats=3
    )
    table = study.mitigation
    (printed,) = mitigation_tables(table, "plain")
    assert [title for title, _ in printed.blocks] == [
        "Phantom, liver; natural 0.85, label Dice 0.852",
        "Phantom, liver; random 0.85, label Dice 0.852",
    ]
    cells = printed.blocks[0][1]
    assert cells["mitigation"].tolist() == [
        "generalised cross-entropy",
        "threshold, clean validation",
        "threshold, noisy validation",
    ]
    row = table.iloc[0]
    assert cells.loc[0, "given back"] == interval(
        row["gained_mean"], row["gained_low"], row["gained_high"]
    )
    assert "over 3 repeats and 3 test cases" in printed.caption
    assert latex([printed]).count(r"\begin{table}") == 2
    (empty,) = mitigation_tables(table.iloc[:0], "plain")
    assert empty.blocks == [] and "plain cross-entropy" in empty.caption
