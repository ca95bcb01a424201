"""The drop taken apart: parts that add up, ceilings beside them, gaps."""

import numpy as np
import pandas as pd
import pytest

from drawn_runs import tables
from labelnoise.evaluation.contrasts import CELL, case_values, drops, threshold_parts
from labelnoise.evaluation.histograms import THRESHOLDS
from labelnoise.evaluation.thresholds import HALF, thresholds_table

NATURAL = ("lis", "liver", "unet", "labels18", "natural-0.90")
CEILING = {"dataset": "lis", "structure": "liver", "recipe": "labels18"}
CEILING |= {"perturbation": "natural-0.90", "dice": 0.75, "dice_at_half": 0.99}


@pytest.fixture
def study():
    """Of 0.1 Dice lost, the threshold of clean labels gives back 0.08; the others nothing."""
    runs, cases = tables(0.1, cases=20, given_back=0.8)
    for name in ("perturbed", "best"):
        cases[f"tp_at_{name}"], cases[f"fp_at_{name}"] = cases["tp"], cases["fp"]
    runs = runs.assign(cases=20, **{f"threshold_{name}": 0.9 for name in THRESHOLDS})
    return runs.assign(threshold_loss=np.nan), cases


def rows_of(table, **names):
    (cell,) = (
        table[[*CELL]]
        .drop_duplicates()
        .query(" and ".join(f"{name} == {value!r}" for name, value in names.items()))
        .itertuples(index=False, name=None)
    )
    return table[(table[CELL] == list(cell)).all(axis=1)].set_index("decision")


def test_a_drop_is_what_is_given_back_and_what_stays(study):
    table = thresholds_table(*study, pd.DataFrame([CEILING]))
    rows = rows_of(table, model="unet", perturbation="natural-0.90")
    assert list(rows.index) == [HALF, *THRESHOLDS]
    for name in ("clean", "perturbed", "best"):
        parts = rows.loc[name, "part_mean"] + rows.loc[name, "drop_mean"]
        assert parts == pytest.approx(rows.loc[HALF, "drop_mean"])
    clean = rows.loc["clean"]
    assert clean["part_mean"] == pytest.approx(0.08, abs=0.01)
    assert clean["part_low"] < clean["part_mean"] < clean["part_high"]
    assert rows.loc["perturbed", "part_mean"] == pytest.approx(0, abs=1e-12)
    assert rows.loc[HALF, "threshold"] == 0.5 and clean["threshold"] == 0.9
    assert (clean["n"], clean["cases"], clean["left_out"]) == (3, 20, "")


def test_a_ceiling_stands_where_it_decides(study):
    table = thresholds_table(*study, pd.DataFrame([CEILING]))
    rows = rows_of(table, model="unet", perturbation="natural-0.90")
    assert rows.loc[[HALF, "loss"], "ceiling_dice"].tolist() == [0.75, 0.99]
    others = table[(table["perturbation"] == "control") | ~table["decision"].isin([HALF, "loss"])]
    assert others["ceiling_dice"].isna().all()
    assert thresholds_table(*study)["ceiling_dice"].isna().all()


def test_what_is_not_known_is_no_number(study):
    table = thresholds_table(*study)
    loss = table[table["decision"] == "loss"]
    assert (
        loss[["threshold", "dice_mean", "dice_low", "drop_mean", "part_mean"]].isna().all(axis=None)
    )
    control = rows_of(table, model="unet", perturbation="control")
    assert control[["drop_mean", "part_mean"]].isna().all(axis=None)
    assert control.loc[HALF, "dice_mean"] > 0.7


def test_parts_are_in_pairs_of_repeat_and_case(study):
    runs, cases = study
    half, clean = (drops(runs, case_values(cases, name)) for name in ("dice", "dice_at_clean"))
    block = threshold_parts(half, clean)[NATURAL]
    assert block.shape == (3, 20)
    # The same in every repeat and case but for the linearisation.
    assert block.to_numpy() == pytest.approx(np.full((3, 20), 0.08), abs=0.03)
