"""Contrasts: pairs of repeats and cases, slopes by hand, studies with gaps."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from labelnoise.evaluation.contrasts import case_values, drops, levels, slopes, summarise
from runs_tables import proportional_runs, runs_of, values_of
from synthetic_runs import matrix, tables_of, write_tree

CONTROL = ("lis", "liver", "unet", "labels18", "control")
NATURAL = (*CONTROL[:-1], "natural-0.95")


def runs_and_values(of, runs, cases=("a", "b")):
    """The table of `runs`, and the values that `of` a run and a case are."""
    table = runs_of(lambda run: np.mean([of(run, case) for case in cases]), runs)
    values = values_of(table, cases)
    for case in cases:
        values[case] = [of(run, case) for run in runs]
    return table, values


def test_drops_pair_by_repeat_and_case_whatever_the_order():
    hard = {"a": 0.0, "b": 0.3}

    def of(run, case):
        lost = (run["kind"] == "natural") * (0.01 * run["repeat"] + (case == "b") * 0.05)
        return 0.9 - hard[case] - 0.1 * run["repeat"] - lost

    runs, values = runs_and_values(of, matrix(("lis",), repeats=3))
    expected = [[0, 0.05], [0.01, 0.06], [0.02, 0.07]]
    shuffled = values.iloc[[4, 0, 3, 2, 5, 1]][["b", "a"]]
    for each in (values, shuffled):
        blocks = drops(runs, each)
        assert list(blocks) == [NATURAL]
        block = blocks[NATURAL].sort_index()[["a", "b"]]
        np.testing.assert_allclose(block, expected, atol=1e-12)
    assert summarise(drops(runs, values)).equals(summarise(drops(runs, shuffled)))


def test_levels_stand_in_the_order_of_the_study(tmp_path):
    runs = matrix(("psd", "lis"), ("unet", "fcn32"), ("plain", "labels18"))
    write_tree(tmp_path, runs)
    _, cases = tables_of(runs, tmp_path)
    values = case_values(cases)
    found = [(key[0], key[2], key[3], key[4]) for key in levels(values)]
    asked = [(run["dataset"], run["model"], run["recipe"], run["perturbation"]) for run in runs]
    assert found == list(dict.fromkeys(asked))


def test_a_cell_that_lacks_a_repeat_is_paired_in_the_others():
    runs = [run for run in matrix(("lis",), repeats=3) if run["kind"] == "control" or run["repeat"]]
    frame = runs_of(lambda run: 0.9 - run["repeat"] * 0.1 * (run["kind"] == "natural"), runs)
    block = drops(frame, values_of(frame))[NATURAL]
    assert block.index.tolist() == [1, 2]
    np.testing.assert_allclose(block["a"], [0.1, 0.2])
    found = summarise(levels(values_of(frame)))
    assert found.loc[[CONTROL, NATURAL], "left_out"].tolist() == ["", ""]
    assert found.loc[NATURAL, "estimate"] == pytest.approx(0.75)


def test_without_a_control_there_are_no_drops_and_no_slopes():
    frame = proportional_runs()
    errors = frame[frame["kind"] != "control"]
    assert drops(errors, values_of(errors)) == slopes(errors, values_of(errors)) == {}
    assert summarise({}).empty


def counts(case_counts):
    """Rows of test.csv, one slice per case, from {case: (tp, fp, fn)}."""
    return [(case, 1, "liver", *three, 100 - sum(three)) for case, three in case_counts.items()]


def test_datasets_have_cases_and_priors_of_their_own(tmp_path):
    own = {"lis": {"a": (8, 1, 1), "b": (9, 0, 2)}, "psd": {"a": (5, 2, 2), "x": (6, 1, 3)}}

    def of(run):
        # Repeats differ much on lis, hardly on psd.
        more = run["repeat"] * (4 if run["dataset"] == "lis" else 1) + len(run["perturbation"])
        return counts(
            {case: (tp, fp + more, fn) for case, (tp, fp, fn) in own[run["dataset"]].items()}
        )

    runs = matrix(("lis", "psd"), kinds=("natural", "random"), sizes=(0.9, 0.8))
    write_tree(tmp_path, runs, counts=of)
    table, cases = tables_of(runs, tmp_path)
    values = case_values(cases)
    blocks = levels(values)
    assert {key[0]: block.columns.tolist() for key, block in blocks.items()} == {
        "lis": ["a", "b"],
        "psd": ["a", "x"],
    }
    together = summarise(blocks)
    for dataset in own:
        alone = summarise({key: block for key, block in blocks.items() if key[0] == dataset})
        pd.testing.assert_frame_equal(together.loc[[dataset]], alone)
    np.testing.assert_allclose(values.mean(axis=1), table["dice"])


def test_structures_are_summarised_apart(tmp_path):
    runs = matrix(kinds=("natural", "random"), sizes=(0.9, 0.8))
    write_tree(tmp_path, runs, structures=("liver", "tumour"))
    table, cases = tables_of(runs, tmp_path)
    values = case_values(cases)
    found = summarise(levels(values))
    for structure, rows in table.groupby("structure"):
        means = rows.groupby("perturbation")["dice"].mean()
        here = found.loc[("phantom", structure)].droplevel([0, 1])["estimate"]
        pd.testing.assert_series_equal(here.sort_index(), means, check_names=False)
    assert len(drops(table, values)) == 8


def test_slopes_by_hand():
    def of(run, case):
        lost = {None: 0, 0.95: 0.04, 0.90: 0.12}[run["size"]] + (case == "b") * 0.01 * run["repeat"]
        return 0.9 - lost * (run["kind"] != "control")

    runs, values = runs_and_values(of, matrix(("lis",), sizes=(0.95, 0.90), repeats=2))
    ((key, block),) = slopes(runs, values).items()
    assert key == (*CONTROL[:-1], "natural", "1")
    # (0.05 x 0.04 + 0.10 x 0.12) / (0.05^2 + 0.10^2) = 1.12, and 0.01 x 0.15 / 0.0125 = 0.12.
    np.testing.assert_allclose(block, [[1.12, 1.12], [1.12, 1.24]])


def test_a_slope_uses_the_label_dice_of_its_own_repeat():
    runs, values = runs_and_values(
        lambda run, case: 0.9 - 0.06 * (run["kind"] != "control"), matrix(("lis",), repeats=2)
    )
    runs.loc[runs["kind"] != "control", "label_dice"] = [0.94, 0.97]
    (block,) = slopes(runs, values).values()
    np.testing.assert_allclose(block["a"], [1, 2])


def test_a_slope_leaves_out_repeats_that_lack_an_error():
    frame = proportional_runs(("unet",), kinds=("natural",))
    lacking = frame[~((frame["perturbation"] == "natural-0.90") & (frame["repeat"] == 1))]
    (block,) = slopes(lacking, values_of(lacking)).values()
    assert block.index.tolist() == [0, 2]
    np.testing.assert_allclose(block["a"], [1.0, 1.2])


@pytest.mark.parametrize(
    ("repeats", "cases", "out"),
    [(3, "a", "cases"), (1, "abc", "repeats"), (1, "a", "repeats and cases"), (3, "abc", "")],
)
def test_what_an_interval_leaves_out_is_said(repeats, cases, out):
    def of(run, case):
        return 0.9 - 0.1 * ord(case) % 7 - 0.01 * run["repeat"] ** 2 - 0.1 * bool(run["size"])

    runs, values = runs_and_values(of, matrix(("lis",), repeats=repeats), cases)
    for blocks in (levels(values), drops(runs, values), slopes(runs, values)):
        assert (summarise(blocks)["left_out"] == out).all()
    bounds = summarise(levels(values))[["low", "high"]]
    assert bounds.isna().all(axis=None) == (out == "repeats and cases")
    if out == "cases":
        expected = stats.ttest_1samp(values.loc[CONTROL, "a"], 0).confidence_interval(0.95)
        assert bounds.loc[CONTROL].tolist() == pytest.approx(list(expected))


def test_a_case_undefined_in_one_run_is_filled_by_its_repeat_and_case():
    def of(run, case):
        return 0.8 + 0.01 * run["repeat"] - 0.2 * (case == "b") - 0.1 * (run["kind"] == "natural")

    runs, values = runs_and_values(of, matrix(("lis",), repeats=3), "abc")
    gap = values.copy()
    gap.loc[(*NATURAL, 1), "b"] = np.nan
    whole, partial = (summarise(drops(runs, each)) for each in (values, gap))
    assert partial.loc[NATURAL, "estimate"] == pytest.approx(0.1)
    assert np.isfinite(partial.loc[NATURAL, ["low", "high"]].astype(float)).all()
    whole, partial = (summarise(levels(each)) for each in (values, gap))
    columns = ["estimate", "low", "high"]
    np.testing.assert_allclose(
        partial.loc[NATURAL, columns].astype(float), whole.loc[NATURAL, columns].astype(float)
    )
    assert partial.loc[CONTROL].equals(whole.loc[CONTROL])


def test_a_structure_absent_from_all_test_cases_has_no_numbers(tmp_path):
    runs = matrix(kinds=("natural",), repeats=2)
    write_tree(tmp_path, runs, counts=lambda run: counts({"a": (0, 0, 0), "b": (0, 0, 0)}))
    table, cases = tables_of(runs, tmp_path)
    values = case_values(cases)
    for blocks in (levels(values), drops(table, values)):
        found = summarise(blocks)
        assert found[["estimate", "low", "high", "p"]].isna().all(axis=None)
        assert (found["left_out"] == "repeats and cases").all()


def test_a_network_that_paints_nothing_leaves_the_others_their_prior():
    def of(run, case):
        rng = np.random.default_rng([run["repeat"], len(run["perturbation"]), ord(case)])
        return 0.0 if run["kind"] == "random" else rng.normal(0.8, 0.05)

    listed = matrix(("lis",), kinds=("natural", "choppy", "random"), sizes=(0.95, 0.9), repeats=2)
    _, values = runs_and_values(of, listed, "abc")
    found = summarise(levels(values))
    painting = {key: block for key, block in levels(values).items() if "random" not in key[-1]}
    columns = ["estimate", "low", "high"]
    pd.testing.assert_frame_equal(found.loc[list(painting), columns], summarise(painting)[columns])


def test_fixed_and_fresh_errors_of_a_kind_have_slopes_of_their_own():
    listed = matrix(("lis",), sizes=(0.95, 0.90), repeats=2)
    fresh = [
        {**run, "perturbation": f"{run['perturbation']}-fresh", "draws": "per_epoch"}
        for run in listed
        if run["size"]
    ]

    def dice_of(run):
        return 0.9 - (1 - (run["size"] or 1)) * (0.2 if "draws" in run else 1.5)

    frame = runs_of(dice_of, [*listed, *fresh])
    found = slopes(frame, values_of(frame))
    assert [key[-2:] for key in found] == [("natural", "1"), ("natural", "per_epoch")]
    for block, slope in zip(found.values(), (1.5, 0.2), strict=True):
        np.testing.assert_allclose(block, slope)
