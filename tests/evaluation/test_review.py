"""Rankings of suspicious labels, against slower formulas, and what mending regains."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from labelnoise.counts import dice
from labelnoise.errors import InputError
from labelnoise.evaluation.review import (
    CHANGED,
    IDEAL,
    RANDOM,
    WORST,
    auroc,
    grade_detectors,
    mending_curve,
    precision_among,
    rank_correlation,
    read_suspects,
)
from labelnoise.files import write_record
from labelnoise.study import Results, Run

# Few values, so that many are equal.
UNITS = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=30)
WRONG = st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(0, 9), st.integers(0, 9))


@given(UNITS)
def test_auroc_is_the_chance_that_a_wrong_unit_is_more_suspicious(units):
    suspicion_M, is_wrong_M = np.array([s for s, _ in units]), np.array([w for _, w in units])
    wrong, right = suspicion_M[is_wrong_M], suspicion_M[~is_wrong_M]
    found = auroc(suspicion_M, is_wrong_M)
    if not len(wrong) or not len(right):
        assert np.isnan(found)
        return
    pairs = [(a > b) + (a == b) / 2 for a in wrong for b in right]
    assert found == pytest.approx(np.mean(pairs))
    assert found == pytest.approx(roc_auc_score(is_wrong_M, suspicion_M))


def orders(suspicion_M):
    """All orders with the most suspicious first."""
    every = map(np.array, permutations(range(len(suspicion_M))))
    return [order for order in every if (np.diff(suspicion_M[order]) <= 0).all()]


@given(st.lists(WRONG, min_size=2, max_size=5))
def test_equal_suspicions_count_as_the_mean_of_all_orders(units):
    suspicion_M = np.array([unit[0] for unit in units])
    counts_M3 = np.array([unit[1:] for unit in units], float)
    is_wrong_M = counts_M3[:, 1:].any(axis=1)
    many = orders(suspicion_M)
    for looked_at in range(1, len(units) + 1):
        share = looked_at / len(units)
        among = [is_wrong_M[order][:looked_at].mean() for order in many]
        assert precision_among(suspicion_M, is_wrong_M, share) == pytest.approx(np.mean(among))
        mended = []
        for order in many:
            after_M3 = counts_M3.copy()
            after_M3[order[:looked_at], 0] += after_M3[order[:looked_at], 2]
            after_M3[order[:looked_at], 1:] = 0
            mended.append(after_M3.sum(axis=0))
        expected = dice([*np.mean(mended, axis=0), 0])
        assert mending_curve(suspicion_M, counts_M3, np.array([share])) == pytest.approx(expected)


@given(st.lists(WRONG, min_size=1, max_size=12))
def test_a_curve_begins_at_the_labels_and_ends_at_the_reference(units):
    counts_M3 = np.array([unit[1:] for unit in units], float)
    curve_K = mending_curve(np.array([unit[0] for unit in units]), counts_M3)
    assert curve_K[0] == pytest.approx(dice([*counts_M3.sum(axis=0), 0]))
    assert curve_K[-1] == pytest.approx(1)
    assert (np.diff(curve_K) >= -1e-12).all()


def test_the_ideal_order_regains_all_once_every_wrong_unit_is_mended():
    counts_M3 = np.array([[10, 0, 0], [8, 4, 2], [9, 1, 1], [10, 0, 0]], float)
    wrong_pixels_M = counts_M3[:, 1] + counts_M3[:, 2]
    curve_K = mending_curve(wrong_pixels_M, counts_M3, np.array([0, 0.25, 0.5, 1]))
    # 37 right pixels, 5 false and 3 missing ones; then 39, 1 and 1.
    assert curve_K == pytest.approx([74 / 82, 78 / 80, 1, 1])
    assert mending_curve(-wrong_pixels_M, counts_M3, np.array([0.5])) == pytest.approx(74 / 82)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=20))
def test_the_correlation_is_spearmans(pairs):
    one, other = np.array(pairs).T
    found = rank_correlation(one, other)
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(one, other).statistic)


def slices_of(wrong_pixels, suspicion, repeats=2, split="test", **names):
    """Rows of a review: slices of 10 pixels in cases of two, of which so many are false."""
    names = {"dataset": "d", "model": "m", "recipe": "r", "perturbation": "e", "fold": "d"} | names
    table = pd.DataFrame({"fp": wrong_pixels, "eye": np.asarray(suspicion, float)})
    table = table.assign(tp=10, fn=0, split=split, kind="natural", draws="1", **names)
    table["slice"] = [place % 2 for place in range(len(table))]
    table["case"] = [f"c{place // 2}" for place in range(len(table))]
    return pd.concat([table.assign(repeat=repeat) for repeat in range(repeats)])


def row_of(table, unit, detector):
    (found,) = table[(table["unit"] == unit) & (table["detector"] == detector)].to_dict("records")
    return found


def test_a_detector_is_graded_by_slice_and_by_case():
    # Two slices of one case are wrong, and a right one of another case is as suspicious as one.
    suspicion = [9, 5, 5, *[1] * 17]
    table, curves = grade_detectors(slices_of([6, 4, *[0] * 18], suspicion), ["eye"])
    of_slices = row_of(table, "slice", "eye")
    assert of_slices["truth"] == CHANGED and of_slices["wrong"] == pytest.approx(0.1)
    assert of_slices["auroc_mean"] == pytest.approx((18 + 17.5) / 36) and of_slices["n"] == 2
    assert of_slices["auroc_sd"] == 0
    # Of two slices one is surely wrong, the other with even chances.
    assert of_slices["precision_mean"] == pytest.approx(0.75)
    whole, after = 400 / 410, 400 / (400 + 4 / 2)
    assert of_slices["label_dice"] == pytest.approx(whole)
    assert of_slices["regained_mean"] == pytest.approx((after - whole) / (1 - whole))
    of_cases = row_of(table, "case", "eye")
    assert of_cases["auroc_mean"] == of_cases["precision_mean"] == of_cases["regained_mean"] == 1
    assert row_of(table, "slice", IDEAL)["regained_mean"] == pytest.approx(1)
    assert row_of(table, "slice", RANDOM)["auroc_mean"] == 0.5
    curve = curves[(curves["unit"] == "slice") & (curves["detector"] == RANDOM)]
    halfway = curve.loc[curve["share"] == 0.5, "label_dice_mean"]
    assert halfway.tolist() == pytest.approx([400 / 405])


def test_where_all_labels_are_wrong_the_worst_tenth_counts():
    wrong_pixels = np.arange(1, 21)
    table, _ = grade_detectors(slices_of(wrong_pixels, -wrong_pixels), ["eye"])
    found = row_of(table, "slice", "eye")
    assert found["truth"] == WORST and found["wrong"] == pytest.approx(0.1)
    assert found["auroc_mean"] == found["precision_mean"] == 0
    assert found["correlation_mean"] == pytest.approx(-1)


def test_folds_are_one_set_of_test_cases_and_several_of_training_slices():
    parts = [
        slices_of([3, 0], suspicion, repeats=1, fold=f"d@fold{fold}", split=split)
        for split in ("train", "test")
        for fold, suspicion in enumerate(([2, 1], [8, 9]))
    ]
    table, _ = grade_detectors(pd.concat(parts), ["eye"])
    by_split = table[(table["unit"] == "slice") & (table["detector"] == "eye")]
    by_split = by_split.set_index("split")["auroc_mean"]
    # Fold by fold 2 is above 1, but 8 not above 9; together 2 and 8 are above 1 alone.
    assert by_split.to_dict() == {"train": 0.5, "test": 0.5}
    only = pd.concat([part.assign(repeat=0) for part in parts[:1]])
    assert row_of(grade_detectors(only, ["eye"])[0], "slice", "eye")["auroc_mean"] == 1


@pytest.fixture
def written(tmp_path):
    """A run whose suspects and labels are written, and its results tree."""
    results, run = Results(tmp_path), Run("d@fold1", "m", "r", "e-0.9", 0)
    write_record(results.fill(results.measured, run), {"kind": "rater", "family": "e", "draws": 1})
    path = results.run_folder(run).suspects
    path.parent.mkdir(parents=True)
    path.write_text("case,slice,split,tp,fp,fn,loss\n007,0,train,1,2,3,0.5\n007,1,test,1,2,3,0.4\n")
    return run, results, path


def test_suspects_are_read_with_their_names(written):
    run, results, _ = written
    first = read_suspects([run], results, ["loss"]).iloc[0]
    assert first[["case", "dataset", "fold", "kind", "draws"]].tolist() == [
        *("007", "d", "d@fold1", "e", "1")
    ]
    assert first["loss"] == 0.5


@pytest.mark.parametrize(
    ("cut", "sentence"),
    [
        (3, "is cut short"),
        (1, "is cut short"),
        (18, "is cut short"),
        (10_000, "is not a table of suspects"),
    ],
)
def test_a_damaged_table_of_suspects_is_refused(written, cut, sentence):
    run, results, path = written
    text = path.read_text()
    path.write_text(text[: max(0, len(text) - cut)])
    with pytest.raises(InputError, match=sentence):
        read_suspects([run], results, ["loss"])


def test_a_table_without_a_detector_is_refused(written):
    run, results, path = written
    with pytest.raises(InputError, match="lacks the columns entropy"):
        read_suspects([run], results, ["loss", "entropy"])
    path.unlink()
    with pytest.raises(InputError, match="is missing"):
        read_suspects([run], results, ["loss"])
