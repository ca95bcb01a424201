"""Tables: scores from countable runs, spread over repeats, paired drops, files that are damaged."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from labelnoise.counts import dice
from labelnoise.errors import InputError
from labelnoise.evaluation.contrasts import case_values
from labelnoise.evaluation.histograms import (
    BINS,
    bin_edges,
    counts_above,
    read_scores,
    write_scores,
)
from labelnoise.evaluation.tables import (
    degradation_table,
    pool_folds,
    read_counts,
    read_table,
    spread,
    study_tables,
)
from labelnoise.files import write_csv
from labelnoise.study import Results, Run
from runs_tables import cases_of, runs_of
from synthetic_runs import folder_of, matrix, table_of, tables_of, write_run, write_tree

# Two cases of very different size. Dice of case a: 2 x 90 / (180 + 20) = 0.9;
# of case b: 2 x 1 / (2 + 2) = 0.5; pooled: 182 / (182 + 22) = 0.892.
COUNTABLE = [
    ("a", 1, "liver", 50, 4, 6, 940),
    ("a", 2, "liver", 40, 6, 4, 950),
    ("b", 1, "liver", 1, 2, 0, 997),
]


@pytest.fixture
def one_run(tmp_path):
    """One control run of countable masks: its results folder and its runs."""
    runs = matrix(kinds=(), repeats=1)
    write_tree(tmp_path, runs, counts=lambda run: COUNTABLE)
    return tmp_path, runs


def test_scores_of_a_run_are_those_counted_by_hand(one_run):
    results, runs = one_run
    (row,) = table_of(runs, results).to_dict("records")
    assert row["dice"] == pytest.approx(182 / 204)
    assert row["dice_case"] == pytest.approx((0.9 + 0.5) / 2)
    assert row["precision"] == pytest.approx(91 / 103)
    assert row["recall"] == pytest.approx(91 / 101)
    assert row["volume_ratio"] == pytest.approx(103 / 101)
    assert (row["cases"], row["cases_undefined"]) == (2, 0)
    # Rank 2 was chosen by validation Dice; rank 1 has 50 false positives more on each slice.
    assert (row["checkpoint_rank"], row["checkpoint_epoch"]) == (2, 9)
    assert (row["seconds"], row["device"], row["parameters"]) == (41.2, "cpu", 1096898)
    assert row["folder"] == folder_of(results, runs[0]).as_posix()


def test_runs_table_describes_the_training_labels(tmp_path):
    runs = matrix(sizes=(0.9,), repeats=2)
    write_tree(tmp_path, runs)
    table = table_of(runs, tmp_path)
    assert list(table["label_dice"]) == [1.0, 1.0, 0.9, 0.901]
    assert list(table["kind"]) == ["control", "control", "natural", "natural"]
    assert np.isnan(table["target_dice"].iloc[0])
    assert np.isnan(table["label_surface_distance"].iloc[0])
    assert table["target_dice"].iloc[2] == 0.9
    assert table["label_surface_distance"].iloc[2] == 1.0


def test_a_case_without_the_structure_is_left_out_and_counted(tmp_path):
    runs = matrix(kinds=(), repeats=1)
    empty = ("c", 1, "liver", 0, 0, 0, 1000)
    write_tree(tmp_path, runs, counts=lambda run: [*COUNTABLE, empty])
    (row,) = table_of(runs, tmp_path).to_dict("records")
    assert row["dice_case"] == pytest.approx(0.7)
    assert (row["cases"], row["cases_undefined"]) == (3, 1)


def test_a_network_that_paints_nothing_has_dice_0_and_no_precision(tmp_path):
    runs = matrix(kinds=(), repeats=2)
    nothing = [("a", 1, "liver", 0, 0, 10, 990)]
    write_tree(tmp_path, runs, counts=lambda run: nothing if run["repeat"] else COUNTABLE)
    table, cases = tables_of(runs, tmp_path)
    assert table["dice"].iloc[1] == 0
    assert np.isnan(table["precision"].iloc[1])
    (cell,) = degradation_table(table, cases).to_dict("records")
    assert (cell["n"], cell["precision_n"]) == (2, 1)
    assert cell["precision_mean"] == pytest.approx(91 / 103)


def test_each_structure_has_its_row_in_the_order_of_the_classes(tmp_path):
    runs = matrix(kinds=(), repeats=1)
    structures = ("tumour", "liver")
    counts = [("007", 1, "tumour", 1, 1, 0, 98), ("007", 1, "liver", 3, 1, 1, 95)]
    write_tree(tmp_path, runs, counts=lambda run: counts, structures=structures)
    table = table_of(runs, tmp_path)
    assert list(table["structure"]) == ["tumour", "liver"]
    assert list(table["dice"]) == pytest.approx([2 / 3, 3 / 4])


def test_case_names_stay_text(one_run):
    results, runs = one_run
    path = folder_of(results, runs[0]) / "test.csv"
    path.write_text(path.read_text().replace(",a,", ",007,").replace(",b,", ",NA,"))
    assert set(read_counts(path)["case"]) == {"007", "NA"}


def test_a_missing_file_is_named(one_run):
    results, runs = one_run
    path = folder_of(results, runs[0]) / "test.csv"
    path.unlink()
    with pytest.raises(InputError, match=r"labels18/control/rep0/test\.csv is missing"):
        table_of(runs, results)


def test_auc_is_that_of_the_scores(tmp_path):
    runs = matrix(kinds=(), repeats=2)
    write_tree(tmp_path, runs)
    table, cases = tables_of(runs, tmp_path)
    scores = [read_scores(folder_of(tmp_path, run) / "scores.h5") for run in runs]
    expected = [of.histogram("liver").auc() for of in scores]
    assert table["auc"].tolist() == expected
    (cell,) = degradation_table(table, cases).to_dict("records")
    assert cell["auc_mean"] == pytest.approx(np.mean(expected))
    assert cell["auc_sd"] == pytest.approx(np.std(expected, ddof=1))
    assert cell["auc_low"] < cell["auc_mean"] < cell["auc_high"]


def test_dice_at_a_threshold_is_counted_by_case_and_pooled(tmp_path):
    (run,) = runs = matrix(kinds=(), repeats=1)
    write_tree(tmp_path, runs)
    path = folder_of(tmp_path, run) / "scores.h5"
    scores = read_scores(path)
    # Clean validation slices are best above edge 1100, whose probability is 0.64.
    validation_2B = np.zeros((1, 2, BINS), np.int64)
    validation_2B[0, 0, 1099], validation_2B[0, 1, 1100] = 50, 50
    chosen = {**scores.validation_S2B, "clean": validation_2B}
    apparent_SC4 = np.array([[[6, 2, 2, 9], [3, 1, 0, 9], [0, 0, 4, 9]]])
    write_scores(
        path,
        replace(scores, validation_S2B=chosen, apparent_SC4=apparent_SC4, loss_threshold=np.nan),
    )
    table, cases = tables_of(runs, tmp_path)
    (row,) = table.to_dict("records")
    assert row["threshold_clean"] == pytest.approx(1 / (1 + np.exp(-bin_edges()[1100])))
    counts_C4 = counts_above(scores.test_SC2B[0], 1100)
    np.testing.assert_array_equal(cases[["tp_at_clean", "fp_at_clean"]], counts_C4[:, :2])
    assert row["dice_at_clean"] == pytest.approx(dice(counts_C4.sum(axis=0)))
    assert row["dice_at_best"] >= max(row["dice"], row["dice_at_clean"])
    # 2 x 9 / (18 + 3 + 6)
    assert row["dice_apparent"] == pytest.approx(18 / 27)
    # A loss whose optimum is unknown has no threshold.
    assert np.isnan([row["threshold_loss"], row["dice_at_loss"]]).all()
    values = case_values(cases, "dice_at_clean")
    assert values.mean(axis=1).tolist() == pytest.approx([row["dice_at_clean"]])
    assert case_values(cases, "dice_at_loss").isna().all(axis=None)


@pytest.mark.parametrize("measure", ["precision", "recall", "volume_ratio", "auc", "dice_case"])
def test_the_values_of_cases_average_to_the_score(measure, tmp_path):
    runs = matrix(repeats=2)
    write_tree(tmp_path, runs)
    table, cases = tables_of(runs, tmp_path)
    means = case_values(cases, measure).mean(axis=1)
    np.testing.assert_allclose(means, table[measure])
    cells = degradation_table(table, cases)
    assert (cells[f"{measure}_low"] < cells[f"{measure}_mean"]).all()
    assert (cells[f"{measure}_high"] > cells[f"{measure}_mean"]).all()


def test_scores_that_are_missing_or_of_other_pixels_are_named(tmp_path):
    runs = matrix(kinds=(), repeats=2)
    write_tree(tmp_path, runs)
    mine, other = (folder_of(tmp_path, run) / "scores.h5" for run in runs)
    content = mine.read_bytes()
    mine.unlink()
    with pytest.raises(InputError, match=r"control/rep0/scores\.h5 is missing"):
        table_of(runs, tmp_path)
    mine.write_bytes(content)
    rows = [("a", 1, "liver", 50, 4, 7, 939)]
    write_run(tmp_path / "foreign", runs[1], rows)
    other.write_bytes((folder_of(tmp_path / "foreign", runs[1]) / "scores.h5").read_bytes())
    with pytest.raises(InputError, match=r"rep1/scores\.h5 does not hold the scores of liver"):
        table_of(runs, tmp_path)


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.8, 0.97, 0.999])
def test_a_truncated_file_is_named_wherever_it_was_cut(one_run, kept):
    results, runs = one_run
    path = folder_of(results, runs[0]) / "test.csv"
    content = path.read_text()
    path.write_text(content[: int(kept * len(content))])
    with pytest.raises(InputError, match=r"rep0/test\.csv"):
        table_of(runs, results)


def test_a_file_cut_between_two_rows_is_refused(one_run):
    results, runs = one_run
    path = folder_of(results, runs[0]) / "test.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(InputError, match=r"truncated: it holds 5 rows .* 6"):
        table_of(runs, results)


@pytest.mark.parametrize("content", ["", "{", '{"seconds": 1}', "[1]"])
def test_a_damaged_run_record_is_named(one_run, content):
    results, runs = one_run
    (folder_of(results, runs[0]) / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"rep0/run\.json"):
        table_of(runs, results)


def test_labels_of_another_structure_are_refused(one_run):
    results, runs = one_run
    path = results / "labels/phantom/control/rep0.json"
    labels = json.loads(path.read_text())
    labels["structures"] = {"spleen": labels["structures"]["liver"]}
    path.write_text(json.dumps(labels))
    with pytest.raises(InputError, match=r"rep0\.json describes the structures spleen.*liver"):
        table_of(runs, results)


def test_a_study_without_runs_is_refused(tmp_path):
    with pytest.raises(InputError, match="no runs"):
        table_of([], tmp_path)


def test_spread_by_hand():
    assert spread([1, 2, np.nan, 3]) == {"mean": 2, "sd": 1, "n": 3}
    assert spread([2, 2, 2]) == {"mean": 2, "sd": 0, "n": 3}


@pytest.mark.parametrize(
    "values, mean, n", [([0.5], 0.5, 1), ([np.nan], np.nan, 0), ([], np.nan, 0)]
)
def test_too_few_values_have_no_spread(values, mean, n):
    np.testing.assert_equal(spread(values), {"mean": mean, "sd": np.nan, "n": n})


def test_drop_is_paired_by_repeat():
    runs = matrix(sizes=(0.9,), repeats=5)
    rng = np.random.default_rng(0)
    level = rng.normal(0.8, 0.1, 5)  # repeats differ a lot, pairs hardly
    noise = rng.normal(0.05, 0.004, 5)

    def dice_of(run):
        repeat = run["repeat"]
        return level[repeat] - (noise[repeat] if run["kind"] == "natural" else 0)

    # The control's rows come in another order: pairs go by repeat, not by place.
    frame = runs_of(dice_of, runs).iloc[[3, 1, 4, 0, 2, *range(5, 10)]]
    control, cell = degradation_table(frame, cases_of(frame)).to_dict("records")
    # Equal cases, and too few contrasts for a prior: the t-interval over repeats.
    oracle = stats.ttest_rel(level, level - noise).confidence_interval(0.95)
    assert (cell["drop_low"], cell["drop_high"]) == pytest.approx(tuple(oracle))
    assert cell["drop_mean"] == pytest.approx(noise.mean())
    assert cell["drop_sd"] == pytest.approx(noise.std(ddof=1))
    assert (cell["drop_n"], cell["n"]) == (5, 5)
    own = stats.ttest_1samp(level - noise, 0).confidence_interval(0.95)
    assert (cell["dice_low"], cell["dice_high"]) == pytest.approx(tuple(own))
    assert cell["drop_p"] == pytest.approx(stats.ttest_rel(level, level - noise).pvalue)
    assert [control[f"drop_{name}"] for name in ("mean", "sd", "low", "high")] == [0] * 4
    assert control["drop_n"] == 5 and np.isnan(control["drop_p"])


def test_drop_uses_the_control_of_the_same_network_recipe_and_dataset():
    names = {"unet": 0.9, "segnet": 0.8, "labels18": 0.0, "plain": 0.03, "lis": 0.0, "psd": -0.2}

    def dice_of(run):
        base = sum(names[run[axis]] for axis in ["model", "recipe", "dataset"])
        return base - (0.01 if run["kind"] == "natural" else 0)

    runs = matrix(("lis", "psd"), ("unet", "segnet"), ("labels18", "plain"), repeats=2)
    frame = runs_of(dice_of, runs)
    table = degradation_table(frame, cases_of(frame))
    noisy = table[table["kind"] == "natural"]
    assert len(noisy) == 8
    assert noisy["drop_mean"].to_numpy() == pytest.approx(np.full(8, 0.01))


def test_only_repeats_that_both_have_are_paired():
    runs = [run for run in matrix(repeats=3) if run["kind"] != "control" or run["repeat"] < 2]
    frame = runs_of(lambda run: 0.9 - 0.1 * (run["kind"] == "natural"), runs)
    _, cell = degradation_table(frame, cases_of(frame)).to_dict("records")
    assert (cell["n"], cell["drop_n"]) == (3, 2)
    assert cell["drop_mean"] == pytest.approx(0.1)


def test_without_a_control_there_is_no_drop():
    runs = [run for run in matrix(repeats=3) if run["kind"] != "control"]
    frame = runs_of(lambda run: 0.8, runs)
    (cell,) = degradation_table(frame, cases_of(frame)).to_dict("records")
    assert np.isnan([cell["drop_mean"], cell["drop_sd"], cell["drop_low"]]).all()
    assert cell["drop_n"] == 0
    assert cell["dice_mean"] == pytest.approx(0.8)


def test_one_repeat_of_one_case_gives_means_without_spread():
    frame = runs_of(lambda run: 0.8, matrix(repeats=1))
    table = degradation_table(frame, cases_of(frame, ["a"]))
    assert table["dice_mean"].tolist() == [0.8, 0.8]
    assert table[["dice_sd", "dice_low", "dice_high", "drop_sd"]].isna().all(axis=None)
    assert table["left_out"].tolist() == ["repeats and cases"] * 2
    assert table["drop_left_out"].tolist() == ["", "repeats and cases"]


def test_one_repeat_has_an_interval_over_cases_and_says_so(tmp_path):
    runs = matrix(repeats=1)
    write_tree(tmp_path, runs)
    table, cases = tables_of(runs, tmp_path)
    _, cell = degradation_table(table, cases).to_dict("records")
    control, natural = case_values(cases).to_numpy()
    expected = stats.ttest_1samp(natural, 0).confidence_interval(0.95)
    assert (cell["dice_low"], cell["dice_high"]) == pytest.approx(tuple(expected))
    expected = stats.ttest_rel(control, natural).confidence_interval(0.95)
    assert (cell["drop_low"], cell["drop_high"]) == pytest.approx(tuple(expected))
    assert cell["left_out"] == cell["drop_left_out"] == "repeats"
    assert np.isnan(cell["dice_sd"])


def test_the_interval_of_a_drop_may_leave_out_more_than_that_of_the_level():
    runs = [run for run in matrix(repeats=3) if run["kind"] != "control" or run["repeat"] < 1]
    frame = runs_of(lambda run: 0.9 - 0.01 * run["repeat"], runs)
    _, cell = degradation_table(frame, cases_of(frame)).to_dict("records")
    assert (cell["n"], cell["drop_n"]) == (3, 1)
    assert (cell["left_out"], cell["drop_left_out"]) == ("", "repeats")


def test_an_interval_lies_around_the_pooled_dice(tmp_path):
    runs = matrix(("lis", "psd"), kinds=("natural", "random"), sizes=(0.9, 0.8))
    write_tree(tmp_path, runs, structures=("liver", "tumour"))
    table = degradation_table(*tables_of(runs, tmp_path))
    assert len(table) == 20 and (table["left_out"] == "").all()
    for name in ("dice", "drop"):
        middle = (table[f"{name}_low"] + table[f"{name}_high"]) / 2
        np.testing.assert_allclose(table[f"{name}_mean"], middle, atol=1e-12)


def test_tables_survive_csv(tmp_path):
    runs = matrix(datasets=("007",), models=("NA",), kinds=("natural", "random"), repeats=3)
    write_tree(tmp_path, runs)
    table, cases = study_tables(map(Run.of, runs), Results(tmp_path))
    for name, content in {"runs": table, "cases": cases}.items():
        write_csv(tmp_path / f"{name}.csv", content)
        pd.testing.assert_frame_equal(read_table(tmp_path / f"{name}.csv"), content)
    with pytest.raises(InputError, match=r"other\.csv is missing"):
        read_table(tmp_path / "other.csv")


FOLDED = {
    "lis@fold0": [("a", 1, "liver", 90, 10, 10, 890), ("b", 1, "liver", 1, 2, 0, 997)],
    "lis@fold1": [("c", 1, "liver", 30, 0, 10, 960)],
}


@pytest.fixture
def folded(tmp_path):
    """Runs of two folds, of two cases and one; in the second repeat 5 pixels more are missed."""

    def counts(run):
        missed = 5 * run["repeat"]
        return [
            (case, number, name, tp - missed * (tp > 5), fp, fn + missed * (tp > 5), tn)
            for case, number, name, tp, fp, fn, tn in FOLDED[run["dataset"]]
        ]

    runs = matrix(tuple(FOLDED), sizes=(0.9,), repeats=2)
    write_tree(tmp_path, runs, counts=counts)
    return study_tables(map(Run.of, runs), Results(tmp_path))


def test_runs_of_folds_are_rows_of_their_dataset(folded, tmp_path):
    runs, cases = folded
    assert set(runs["dataset"]) == set(cases["dataset"]) == {"lis"}
    assert len(runs) == 2 * 2 * 2 and runs["fold"].tolist() == ["0"] * 4 + ["1"] * 4
    assert runs["folder"].iloc[4].endswith("lis@fold1/unet/labels18/control/rep0")
    write_csv(tmp_path / "runs.csv", runs)
    pd.testing.assert_frame_equal(read_table(tmp_path / "runs.csv"), runs)


def test_a_repeat_is_pooled_over_the_cases_of_all_folds(folded):
    runs, cases = folded
    pooled = pool_folds(runs, cases)
    first = pooled.iloc[0]
    assert len(pooled) == 4 and (first["repeat"], first["cases"]) == (0, 3)
    # Of a, b and c together: 121 true positives, 12 false ones, 20 missed.
    assert first["dice"] == pytest.approx(242 / (242 + 12 + 20))
    assert first["precision"] == pytest.approx(121 / 133)
    assert first["volume_ratio"] == pytest.approx(133 / 141)
    assert first["dice_case"] == pytest.approx((180 / 200 + 2 / 4 + 60 / 70) / 3)
    # Folds count by their cases: areas are of networks that share no threshold.
    control = runs[(runs["perturbation"] == "control") & (runs["repeat"] == 0)]
    assert first["auc"] == pytest.approx(np.average(control["auc"], weights=[2, 1]))
    assert pooled["dice"].iloc[1] == pytest.approx(222 / (222 + 12 + 30))


def test_a_cell_of_folds_has_the_interval_over_all_its_cases(folded):
    runs, cases = folded
    control, _ = degradation_table(runs, cases).to_dict("records")
    assert (control["dataset"], control["n"], control["cases"]) == ("lis", 2, 3)
    # As had one network tested all cases.
    alone = pool_folds(runs, cases)
    whole, _ = degradation_table(alone, cases.drop(columns="fold")).to_dict("records")
    assert control == pytest.approx(whole, nan_ok=True)
    assert control["dice_low"] < control["dice_mean"] < control["dice_high"]


def test_the_table_of_cases_holds_the_counts_of_the_chosen_checkpoint(one_run):
    results, runs = one_run
    _, cases = study_tables(map(Run.of, runs), Results(results))
    assert cases["case"].tolist() == ["a", "b"]
    assert cases[["tp", "fp", "fn", "tn"]].to_numpy().tolist() == [
        [90, 10, 10, 1890],
        [1, 2, 0, 997],
    ]


def test_tables_take_from_the_label_files_how_errors_are_drawn(tmp_path):
    runs = matrix(sizes=(0.9,), repeats=2)
    for run in runs:
        run["draws"] = 1 if run["size"] is None else "per_epoch"
    write_tree(tmp_path, runs)
    table, cases = tables_of(runs, tmp_path)
    drawn = ["1", "1", "per_epoch", "per_epoch"]
    assert table["draws"].tolist() == drawn
    cells = degradation_table(table, cases)
    assert cells["draws"].tolist() == drawn[::2]
    write_csv(tmp_path / "runs.csv", table)
    assert read_table(tmp_path / "runs.csv")["draws"].tolist() == drawn


def test_labels_that_do_not_say_how_they_were_drawn_are_refused(one_run):
    results, runs = one_run
    path = results / "labels/phantom/control/rep0.json"
    labels = json.loads(path.read_text())
    del labels["draws"]
    path.write_text(json.dumps(labels))
    with pytest.raises(InputError, match=r"rep0\.json lacks draws; delete it and run again"):
        table_of(runs, results)
