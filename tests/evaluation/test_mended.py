"""Test Dice before and after labels were mended, from counts that were written by hand."""

import pytest

from labelnoise.evaluation.mended import mended_table
from labelnoise.files import write_record, write_rows
from labelnoise.report.review import mended_tables
from labelnoise.study import Results, Run


def write_run(folder, tp, rank=1):
    """A tested run of two checkpoints, of which the one of `rank` finds so many of 10 pixels."""
    folder.path.mkdir(parents=True)
    write_record(folder.record, {"chosen_rank": rank})
    names = {"epoch": 0, "case": "a", "slice": 0, "class_index": 1, "structure": "liver"}
    found = {rank: tp, 3 - rank: 0}
    rows = [{"rank": each, **names, "tp": tp, "fp": 0, "fn": 10 - tp} for each, tp in found.items()]
    write_rows(folder.counts, [row | {"tn": 90} for row in rows])


@pytest.fixture
def tree(tmp_path):
    """Runs of a control and an error, of which the error's are trained again; two repeats."""
    results, runs = Results(tmp_path), []
    for repeat in range(2):
        for name, found in (("control", 10), ("thick-0.9", 5 + repeat)):
            run = Run("lis", "unet", "plain", name, repeat)
            kind = name.partition("-")[0]
            known = {"kind": kind.replace("thick", "bias"), "family": kind, "draws": 1}
            write_record(results.fill(results.measured, run), known)
            write_run(results.run_folder(run), found, rank=2)
            runs.append(run)
            if name != "control":
                write_run(results.mended_folder(run, "loss"), 8)
    return runs, results


def dice(found):
    return 2 * found / (found + 10)


def test_the_gain_is_paired_by_repeat(tree):
    table = mended_table(*tree, ["loss"]).set_index(["perturbation", "order"])
    assert [*table.index] == [("control", "none"), ("thick-0.9", "none"), ("thick-0.9", "loss")]
    before, after = table.loc[("thick-0.9", "none")], table.loc[("thick-0.9", "loss")]
    assert before["dice_mean"] == pytest.approx((dice(5) + dice(6)) / 2) and before["n"] == 2
    assert after["dice_mean"] == pytest.approx(dice(8)) and after["dice_sd"] == 0
    assert after["gain_mean"] == pytest.approx(dice(8) - (dice(5) + dice(6)) / 2)
    assert after["gain_sd"] == pytest.approx((dice(6) - dice(5)) / 2**0.5)
    assert before["gain_mean"] == 0 and table.loc[("control", "none"), "dice_mean"] == 1


def test_the_printed_table_has_a_column_for_each_order(tree):
    ((title, cells),) = mended_tables(mended_table(*tree, ["loss"]), 0.1)[0].blocks
    assert title == "Liver CT; U-Net; plain cross-entropy"
    assert list(cells) == ["perturbation", "as they are", "loss"]
    assert cells["loss"].tolist() == ["–", "0.8889 ± 0.0000"]


def test_folds_are_pooled_before_dice(tmp_path):
    results, runs = Results(tmp_path), []
    for fold, found in enumerate((10, 4)):
        run = Run(f"lis@fold{fold}", "unet", "plain", "control", 0)
        write_record(results.fill(results.measured, run), {"kind": "control", "draws": 1})
        write_run(results.run_folder(run), found)
        runs.append(run)
    (row,) = mended_table(runs, results, ["loss"]).to_dict("records")
    assert row["dice_mean"] == pytest.approx(28 / 34) and row["n"] == 1
