"""ROC: hand-counted rankings, scikit-learn as oracle, sums over batches, and the file of scores."""

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from labelnoise.errors import InputError
from labelnoise.evaluation.histograms import (
    BINS,
    ScoreHistogram,
    bin_edges,
    read_scores,
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


@pytest.fixture
def written(tmp_path):
    """A file of two checkpoints and two structures, and what is in it."""
    scores = np.random.default_rng(3).normal(size=(2, 2, 30))
    histograms = {
        rank: {
            name: histogram(scores[rank - 1, place], np.arange(30) % (place + 2) == 0)
            for place, name in enumerate(["liver", "Tumör"])
        }
        for rank in (1, 2)
    }
    write_scores(tmp_path / "scores.h5", histograms)
    return tmp_path / "scores.h5", histograms


def test_a_file_is_read_back_and_repeats_itself(written, tmp_path):
    path, histograms = written
    found = read_scores(path)
    assert list(found) == [1, 2] and list(found[1]) == ["liver", "Tumör"]
    for rank in found:
        for name in found[rank]:
            expected = histograms[rank][name].counts_2B
            np.testing.assert_array_equal(found[rank][name].counts_2B, expected)
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
        file.attrs["format"] = "labelnoise-dataset"
    with pytest.raises(InputError, match=r"other\.h5 has format 'labelnoise-dataset'"):
        read_scores(other)
    with h5py.File(path, "r+") as file:
        del file["rank"]
    with pytest.raises(InputError, match=r"scores\.h5 is not a whole file of scores"):
        read_scores(path)
