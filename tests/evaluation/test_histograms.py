"""ROC: hand-counted rankings, scikit-learn as oracle, sums over batches, and the file of scores."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from damage import damage
from labelnoise.data.checksums import create, read_attributes, write_attributes
from labelnoise.errors import InputError
from labelnoise.evaluation.histograms import (
    BINS,
    RunScores,
    ScoreHistogram,
    area_values,
    auc,
    average_precision,
    best_edge,
    bin_edges,
    counts_above,
    nearest_edge,
    read_scores,
    threshold_edges,
    write_scores,
)
from labelnoise.evaluation.score import bin_log_odds
from labelnoise.networks.output import log_odds, predict


def histogram(scores, positive):
    """The histogram of a list of log-odds."""
    scores = torch.tensor(scores, dtype=torch.float32)
    return ScoreHistogram(bin_log_odds(scores, torch.tensor(positive).bool()))


def normal_scores(rng, spread, pixels=20_000, share=0.05):
    positive = rng.random(pixels) < share
    return rng.normal(0, spread, pixels) + 2 * spread * positive - 1.5 * spread, positive


@pytest.mark.parametrize(
    ("scores", "positive", "auc"),
    [
        ([-3, -1, 1, 3], [0, 0, 1, 1], 1),
        ([-3, -1, 1, 3], [1, 1, 0, 0], 0),
        # Pairs of a positive and a negative: (-1, -3) right, (-1, 1) wrong, (3, ...) both right.
        ([-3, -1, 1, 3], [0, 1, 0, 1], 3 / 4),
        # The tied pair counts half: (1 + 1 + 1/2 + 1) / 4.
        ([-3, 1, 1, 3], [0, 1, 0, 1], 7 / 8),
        ([2, 2, 2, 2], [0, 1, 0, 1], 1 / 2),
    ],
)
def test_auc_counts_the_pairs_in_the_right_order(scores, positive, auc):
    assert histogram(scores, positive).auc() == pytest.approx(auc)


def test_the_curve_is_the_one_drawn_by_hand():
    false_positive_rate, true_positive_rate = histogram([-3, -1, 1, 3], [0, 1, 0, 1]).curve()
    corners = sorted(set(zip(false_positive_rate, true_positive_rate, strict=True)))
    assert corners == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    assert len(false_positive_rate) == BINS + 1


@pytest.mark.parametrize("spread", [0.3, 3, 30, 300])
def test_auc_and_curve_agree_with_scikit_learn(spread):
    # At a spread of 30 and more, probabilities of 32 bits are mostly 0 or 1; log-odds still rank.
    scores, positive = normal_scores(np.random.default_rng(1), spread)
    found = histogram(scores, positive)
    assert found.auc() == pytest.approx(roc_auc_score(positive, scores), abs=1e-3)
    expected = roc_curve(positive, scores, drop_intermediate=False)
    at = np.linspace(0, 1, 50)
    np.testing.assert_allclose(
        np.interp(at, *found.curve()), np.interp(at, *expected[:2]), atol=5e-3
    )


def test_auc_of_saturated_probabilities_agrees_with_scikit_learn():
    scores, positive = normal_scores(np.random.default_rng(2), 40)
    probabilities = torch.tensor(scores, dtype=torch.float32).sigmoid()
    assert (probabilities == 1).float().mean() > 0.04
    found = histogram(probabilities.logit().tolist(), positive)
    assert found.auc() == pytest.approx(roc_auc_score(positive, probabilities), abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(width=32), st.booleans()), max_size=40), st.integers(1, 7))
def test_batches_add_up_and_no_pixel_is_lost(pixels, size):
    scores, positive = [pixel[0] for pixel in pixels], [pixel[1] for pixel in pixels]
    whole, parts_2B = histogram(scores, positive), np.zeros((2, BINS), np.int64)
    for start in range(0, len(pixels), size):
        part = slice(start, start + size)
        parts_2B += histogram(scores[part], positive[part]).counts_2B
    np.testing.assert_array_equal(parts_2B, whole.counts_2B)
    assert (whole.positives, whole.negatives) == (sum(positive), len(positive) - sum(positive))


def test_the_size_does_not_depend_on_the_number_of_pixels():
    found = histogram(np.zeros(100_000), np.zeros(100_000))
    assert found.counts_2B.shape == (2, BINS)
    assert found.negatives == 100_000


@pytest.mark.parametrize("positive", [[0, 0, 0], [1, 1, 1], []])
def test_without_both_classes_there_is_no_auc(positive):
    found = histogram([1.0] * len(positive), positive)
    assert np.isnan(found.auc())
    assert np.isnan(found.decision()).any()


def test_scores_that_are_no_numbers_rank_at_the_ends():
    inf, nan = float("inf"), float("nan")
    assert histogram([-inf, 0, inf, nan], [0, 0, 1, 0]).auc() == 1
    assert histogram([nan, -1e9], [1, 0]).auc() == 0.5


@pytest.mark.parametrize("classes", [2, 3])
def test_the_decision_is_that_of_the_counted_masks(classes):
    generator = torch.Generator().manual_seed(0)
    logits_NCHW = torch.randn((3, classes, 16, 16), generator=generator)
    logits_NCHW[0, :, :4] = 0  # ties are not predicted
    positive_NHW = torch.rand((3, 16, 16), generator=generator) < 0.3
    predicted_NHW = predict(logits_NCHW)[:, 1]
    found = ScoreHistogram(bin_log_odds(log_odds(logits_NCHW, 1), positive_NHW))
    rates = [(predicted_NHW & truth).sum() / truth.sum() for truth in (~positive_NHW, positive_NHW)]
    assert found.decision() == pytest.approx([float(rate) for rate in rates])


def test_edges_part_the_bins():
    edges = bin_edges()
    assert (np.diff(edges[1:-1]) > 0).all() and edges[BINS // 2] == 0
    middle = (edges[1:-2] + edges[2:-1]) / 2
    for place in [0, 700, 1022, 1023, 2000]:
        found = histogram([middle[place]], [1]).counts_2B[1]
        assert found.argmax() == place + 1


def scores_at(edges, positives, negatives):
    """A histogram with so many pixels just above each edge."""
    counts_2B = np.zeros((2, BINS), np.int64)
    counts_2B[0, edges], counts_2B[1, edges] = negatives, positives
    return counts_2B


# Above edge 1500: 4 right, 0 wrong. Above 1100: 9 and 1. Above 900: 10 and 10; all: 10 and 100.
EDGES, POSITIVES, NEGATIVES = [0, 900, 1100, 1500], [0, 1, 5, 4], [90, 9, 1, 0]


@pytest.mark.parametrize(
    ("edge", "expected"),
    [
        (0, [10, 100, 0, 0]),
        (900, [10, 10, 0, 90]),
        (901, [9, 1, 1, 99]),
        (1500, [4, 0, 6, 100]),
        (BINS, [0, 0, 10, 100]),
    ],
)
def test_counts_above_an_edge_are_those_counted_by_hand(edge, expected):
    counts_2B = scores_at(EDGES, POSITIVES, NEGATIVES)
    assert counts_above(counts_2B, edge).tolist() == expected
    assert counts_above(np.stack([counts_2B, 2 * counts_2B]), edge)[1].tolist() == [
        2 * count for count in expected
    ]


def test_the_best_edge_is_that_of_the_highest_dice():
    # Dice: 20 / 120, 20 / 30, 18 / 20, 8 / 14. The edges 901 to 1100 part the same pixels; of them
    # 1024 is a probability of 0.5.
    assert best_edge(scores_at(EDGES, POSITIVES, NEGATIVES)) == BINS // 2
    # Without the pixels in the middle the nearest to 0.5 of the equal edges is taken.
    assert best_edge(scores_at([200, 1500], [0, 4], [90, 0])) == BINS // 2
    assert best_edge(scores_at([1100, 1500], [0, 4], [90, 0])) == 1101
    assert best_edge(scores_at([200, 500], [4, 4], [0, 9])) == 200
    assert best_edge(scores_at([200, 1500], [0, 0], [90, 1])) == BINS // 2


@pytest.mark.parametrize("place", [0, 3, 700, BINS // 2, 1500, BINS])
def test_a_threshold_takes_the_edge_nearest_to_it(place):
    assert nearest_edge(bin_edges()[place]) == place


def test_each_structure_has_its_own_thresholds():
    """Two structures of two cases; Dice of each edge can be counted by hand."""
    # Kidney is best above 1100 (9 right, 1 wrong), the tumour above 500 (8 right, none wrong).
    kidney = scores_at(EDGES, POSITIVES, NEGATIVES)
    tumour = scores_at([0, 500, 1300], [0, 6, 2], [300, 0, 0])
    wrong = [scores_at([0, 1500], [0, 7], [9, 0]), scores_at([0, 100], [0, 7], [9, 0])]
    scores = RunScores(
        rank=1,
        structures=["kidney", "tumour"],
        cases=["a"],
        test_SC2B=np.stack([kidney, tumour])[:, None],
        apparent_SC4=np.zeros((2, 1, 4), np.int64),
        validation_S2B={"clean": np.stack([tumour, kidney]), "perturbed": np.stack(wrong)},
        loss_threshold=float(np.log(1 / 0.25)),
    )
    implied = nearest_edge(np.log(4))
    assert bin_edges()[implied] == pytest.approx(np.log(4), abs=0.01)
    # The nearest to 0.5 of the edges that part the same pixels.
    assert threshold_edges(scores, 0) == {
        "loss": implied,
        "clean": 500,
        "perturbed": BINS // 2,
        "best": BINS // 2,
    }
    assert threshold_edges(scores, 1) == {
        "loss": implied,
        "clean": BINS // 2,
        "perturbed": 100,
        "best": 500,
    }
    unknown = replace(scores, loss_threshold=np.nan)
    assert threshold_edges(unknown, 0)["loss"] is None


@pytest.mark.parametrize("spread", [0.3, 3, 30])
def test_average_precision_agrees_with_scikit_learn(spread):
    scores, positive = normal_scores(np.random.default_rng(4), spread)
    expected = average_precision_score(positive, scores)
    found = average_precision(histogram(scores, positive).counts_2B)
    assert found == pytest.approx(expected, abs=5e-3)


def test_average_precision_of_four_pixels():
    # Falling thresholds: 1 of 1 right, then 1 of 2, then 2 of 3: (1 + 2 / 3) / 2.
    found = average_precision(histogram([-3, -1, 1, 3], [0, 1, 0, 1]).counts_2B)
    assert found == pytest.approx(5 / 6)
    assert np.isnan(average_precision(histogram([1, 2], [0, 0]).counts_2B))


@pytest.mark.parametrize("area", [auc, average_precision])
def test_the_values_of_cases_have_the_spread_of_the_jackknife(area):
    rng = np.random.default_rng(5)
    counts_C2B = np.stack(
        [
            histogram(*normal_scores(rng, spread, 2000)).counts_2B
            for spread in rng.uniform(0.5, 3, 6)
        ]
    )
    values_C = area_values(counts_C2B, area)
    whole = area(counts_C2B.sum(axis=0))
    assert values_C.mean() == pytest.approx(whole)
    without = [area(np.delete(counts_C2B, case, axis=0).sum(axis=0)) for case in range(6)]
    jackknife = 5 / 6 * ((without - np.mean(without)) ** 2).sum()
    assert values_C.var(ddof=1) / 6 == pytest.approx(jackknife)
    # What lies lower in the others than with it is good in a case.
    assert values_C.argmax() == np.argmin(without)
    assert area_values(counts_C2B[:1], area).tolist() == [area(counts_C2B[0])]


@pytest.fixture
def written(tmp_path):
    """A file of two structures and three cases, and what is in it."""
    scores = np.random.default_rng(3).normal(size=(2, 3, 30))
    test = [
        [
            histogram(scores[row, case], np.arange(30) % (row + 2) == 0).counts_2B
            for case in range(3)
        ]
        for row in range(2)
    ]
    found = RunScores(
        rank=2,
        structures=["liver", "Tumör"],
        cases=["007", "NA", "c"],
        test_SC2B=np.array(test),
        apparent_SC4=np.arange(24).reshape(2, 3, 4),
        validation_S2B={"clean": np.array(test)[:, 0], "perturbed": np.array(test)[:, 1]},
        loss_threshold=2.5,
    )
    write_scores(tmp_path / "scores.h5", found)
    return tmp_path / "scores.h5", found


def test_a_file_is_read_back_and_repeats_itself(written, tmp_path):
    path, expected = written
    found = read_scores(path)
    for name in ("rank", "structures", "cases", "loss_threshold"):
        assert getattr(found, name) == getattr(expected, name)
    for name in ("test_SC2B", "apparent_SC4"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for labels, counts_S2B in expected.validation_S2B.items():
        np.testing.assert_array_equal(found.validation_S2B[labels], counts_S2B)
    assert found.histogram("Tumör").positives == 3 * 10
    write_scores(tmp_path / "again.h5", found)
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()
    assert path.stat().st_size < 60_000


def test_unusable_files_are_named(written, tmp_path):
    path, _ = written
    with pytest.raises(InputError, match=r"gone\.h5 is missing"):
        read_scores(tmp_path / "gone.h5")
    cut = tmp_path / "cut.h5"
    cut.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"cut\.h5 is not a whole file of scores"):
        read_scores(cut)
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file.attrs["format"] = "labelnoise-scores"
    with pytest.raises(InputError, match=r"other\.h5 .*no checksums, so an older version"):
        read_scores(other)
    with create(other) as file:
        write_attributes(file, {"format": "labelnoise-dataset"})
    with pytest.raises(InputError, match=r"other\.h5 has format 'labelnoise-dataset'"):
        read_scores(other)
    with h5py.File(path, "r+") as file:
        attributes = read_attributes(file)
        write_attributes(file, attributes | {"format_version": 2})
    with pytest.raises(InputError, match=r"version 2; expected .* version 3; delete it"):
        read_scores(path)
    with h5py.File(path, "r+") as file:
        write_attributes(file, attributes)
        del file["apparent"]
        file["apparent"] = np.zeros((1, 3, 4), np.int64)
    with pytest.raises(InputError, match=r"counts of shapes .*, expected .*; delete it"):
        read_scores(path)
    with h5py.File(path, "r+") as file:
        del file["case"]
    with pytest.raises(InputError, match=r"scores\.h5 is not a whole file of scores"):
        read_scores(path)


def test_a_damaged_byte_is_a_sentence_or_changes_nothing(written):
    def read(path):
        found = vars(read_scores(path))
        return repr(
            [getattr(value, "tolist", lambda value=value: value)() for value in found.values()]
        )

    found = damage(written[0], read)
    assert not found["other"] and found["sentence"] > 30
