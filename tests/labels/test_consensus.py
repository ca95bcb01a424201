"""What several annotators come to together, on masks that can be counted by hand."""

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from labelnoise.counts import dice, overlap
from labelnoise.labels.consensus import RULES, merge

LABELS = arrays.arrays(np.uint8, (3, 1, 5, 6), elements=st.integers(0, 2))


def row(*pixels):
    return np.array(pixels, np.uint8)[None, None]


def test_most_annotators_decide_and_of_equally_many_the_background():
    three = np.stack([row(0, 1, 1, 2, 0, 1), row(0, 1, 2, 2, 1, 2), row(1, 0, 2, 2, 1, 0)])
    assert merge(three, "majority").ravel().tolist() == [0, 1, 2, 2, 1, 0]
    # Of two, what both say.
    assert merge(three[:2], "majority").ravel().tolist() == [0, 1, 1, 2, 0, 1]


def test_the_mean_outline_lies_half_way():
    """A bar that ends at 3 and one that ends at 7 make one that ends at 5."""
    bars = np.zeros((2, 1, 1, 12), np.uint8)
    bars[0, ..., :3] = bars[1, ..., :7] = 1
    assert merge(bars, "mean").ravel().tolist() == [1] * 5 + [0] * 7
    # Where the two disagree about a whole pixel it is background.
    bars[1] = 0
    bars[1, ..., :4] = 1
    assert merge(bars, "mean").sum() == 3


def test_the_mean_of_discs_is_the_disc_between(squares=21):
    y, x = np.mgrid[:squares, :squares] - squares // 2
    discs = np.stack([np.hypot(y, x) <= radius for radius in (4.2, 8.2)])[:, None]
    merged = merge(discs.astype(np.uint8), "mean")[0]
    between = np.hypot(y, x) <= 6.2
    assert dice(overlap(between.astype(np.uint8), merged)) > 0.96


def test_spacing_says_what_is_half_way():
    """Above a long bar one annotator adds two rows, of 3 mm each, the other nothing."""
    masks = np.zeros((2, 1, 9, 9), np.uint8)
    masks[0, 0, 4:, :] = masks[1, 0, 4:, 3:] = 1
    wide, narrow = (merge(masks, "mean", spacing) for spacing in ((1, 1), (1, 5)))
    assert wide.sum() != narrow.sum()


def test_staple_is_that_of_simpleitk_for_one_structure():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    truth = np.hypot(y - 16, x - 15) < 9
    masks = np.stack([truth ^ (rng.random(truth.shape) < rate) for rate in (0.05, 0.1, 0.3)])
    merged = merge(masks[:, None].astype(np.uint8), "staple")[0]
    images = [SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in masks]
    expected = SimpleITK.GetArrayFromImage(SimpleITK.STAPLE(images, 1.0)) > 0.5
    assert (merged == expected).mean() > 0.99
    assert (merged != truth).sum() < (masks[2] != truth).sum()  # of the worst of the three


@settings(deadline=None, max_examples=60)
@given(LABELS, st.sampled_from(RULES))
def test_nobody_says_what_none_of_the_annotators_does(labels, by):
    merged = merge(labels, by)
    chosen = set(np.unique(labels))
    assert set(np.unique(merged)) <= chosen | ({0} if by == "staple" else set())
    agreed = (labels == labels[0]).all(axis=0)
    if by == "majority":
        assert (merged[agreed] == labels[0][agreed]).all()


@pytest.mark.parametrize("by", RULES)
def test_who_agrees_is_left_alone(by):
    same = np.stack([row(0, 1, 2, 1)] * 3)
    assert (merge(same, by) == same[0]).all()
    assert (merge(same[:1], by) == same[0]).all()


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="'vote' is none of majority"):
        merge(np.zeros((2, 1, 2, 2), np.uint8), "vote")
