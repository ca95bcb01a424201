"""Ceilings: hand-counted draws, brute force, kinds whose P is known, and how sure they are."""

from functools import partial
from itertools import chain, product

import numpy as np
import pandas as pd
import pytest

from labelnoise import counts
from labelnoise.data.storage import Dataset
from labelnoise.evaluation import ceiling as module
from labelnoise.evaluation.ceiling import (
    GROUPS,
    TOLERANCE,
    Drawn,
    ShareHistogram,
    count_shares,
    estimate_ceiling,
    half_rule,
    loss_rule,
    score,
)
from labelnoise.files import write_json
from labelnoise.labels.error import measure
from labelnoise.labels.perturbations import draw_labels
from labelnoise.study import Perturbation
from tiny import write_discs

SAMPLED = "class_sampled_cross_entropy"


def drawn_by_hand(truth, *labels):
    """Count a row of pixels whose labels go through `labels`, evenly in every group of draws."""

    def draw(labels_1HW, draw, rows):
        return np.array([[labels[draw // GROUPS % len(labels)]]], np.uint8)

    slices = [(0, np.array([truth], np.uint8))]
    return count_shares(slices, draw, GROUPS * len(labels), max(truth))


def in_eighths(eighths):
    """Eight labels of a row of pixels, of which a pixel is foreground in that many."""
    return [[phase < number for number in eighths] for phase in range(8)]


@pytest.mark.parametrize(
    ("loss", "share", "threshold", "painted"),
    [
        ("cross_entropy", 0.1, 1 / 2, 2),
        (SAMPLED, 1, 1 / 2, 2),
        (SAMPLED, 1 / 2, 1 / 3, 3),
        (SAMPLED, 1 / 9, 1 / 10, 4),
        # Labels hold 18/8 of a pixel. The first 1, 2, 3, 4 pixels have Dice 8/13, 13/17, 17/21 and
        # 18/25 against them.
        ("dice", 0.1, 17 / 42, 3),
    ],
)
def test_each_loss_paints_what_it_paints_by_hand(loss, share, threshold, painted):
    (drawn,) = drawn_by_hand([1, 1, 0, 0, 0], *in_eighths([8, 5, 4, 1, 0]))
    assert score(drawn, partial(loss_rule, loss, share)) == pytest.approx(
        {
            "threshold": threshold,
            "dice": 4 / (2 + painted),
            "precision": 2 / painted,
            "recall": 1,
            "volume_ratio": painted / 2,
            "standard_error": 0,
            "change_on_doubling": 0,
        }
    )
    # Right by 13/8 of a pixel, wrong by 5/8 and 3/8.
    assert counts.dice(drawn.whole.label_overlap()) == pytest.approx(26 / 34)


@pytest.mark.parametrize("loss", ["smp.DiceLoss", "smp.FocalLoss"])
def test_what_other_losses_paint_is_not_said_to_be_known(loss):
    (drawn,) = drawn_by_hand([1, 0], [1, 0])
    assert np.isnan([*score(drawn, partial(loss_rule, loss, 0.1)).values()]).all()


def test_a_structure_that_is_nowhere_has_no_ceiling():
    (drawn, _) = drawn_by_hand([2, 0], [2, 0])
    assert np.isnan(score(drawn, half_rule)["dice"])
    assert np.isnan(loss_rule("dice", 0.1, drawn.whole))


@pytest.mark.parametrize("seed", range(5))
def test_no_set_of_pixels_has_a_larger_soft_dice_than_that_above_the_threshold(seed):
    """Of all 2^8 sets, by expected counts; true labels do not matter."""
    rng = np.random.default_rng(seed)
    eighths = rng.integers(0, 9, 8)
    (drawn,) = drawn_by_hand([1, *rng.integers(0, 2, 7)], *in_eighths(eighths))
    shares = eighths / 8

    def expected_dice(painted):
        painted = np.array(painted)
        return 2 * shares[painted].sum() / (painted.sum() + shares.sum())

    best = max(map(expected_dice, product([False, True], repeat=8)))
    threshold = loss_rule("dice", 0.1, drawn.whole)
    assert 2 * threshold == pytest.approx(best)
    assert expected_dice(shares > threshold) == pytest.approx(best)


def test_several_structures_are_decided_one_by_one_against_the_rest():
    """The second pixel goes to both structures where a quarter of the labels is enough."""
    right, swapped = [1, 2, 2, 0], [1, 1, 2, 0]
    drawn = drawn_by_hand(right, right, right, right, swapped)
    quarter, half = (
        [score(each, rule)["dice"] for each in drawn]
        for rule in (partial(loss_rule, SAMPLED, 1 / 9), half_rule)
    )
    assert quarter == pytest.approx([2 / 3, 1]) and half == [1, 1]
    # Of the first structure's 5 labels in 4 draws one is wrong, of the second's 7 none, 1 lacks.
    label_dice = [counts.dice(each.whole.label_overlap()) for each in drawn]
    assert label_dice == pytest.approx([8 / 9, 14 / 15])


@pytest.fixture
def slices():
    """Three slices of discs, one of them without the second structure."""
    rows, columns = np.indices((24, 24))
    labels_NHW = np.zeros((3, 24, 24), np.uint8)
    for place, centre in enumerate((9, 11, 13)):
        labels_NHW[place, (rows - centre) ** 2 + (columns - 8) ** 2 <= 30] = 1
        if place:
            labels_NHW[place, (rows - 12) ** 2 + (columns - 19) ** 2 <= 8] = 2
    return list(enumerate(labels_NHW))


def choppy(seed, severity=2.0):
    settings = {"severities": {1: severity, 2: severity}, "foreground_fractions": {}, "seed": seed}
    return partial(draw_labels, kind="choppy", **settings)


def test_no_pixel_is_lost_and_parts_hold_their_draws(slices):
    labels_NHW, draw = np.array([labels_HW for _, labels_HW in slices]), choppy(3)
    group_D = np.arange(32) % GROUPS
    wrong_DNHW = np.array([draw(labels_NHW, draw=number, rows=range(3)) for number in range(32)])
    for index, drawn in enumerate(count_shares(slices, draw, 32, 2), start=1):
        positives = (labels_NHW == index).sum()
        labelled_D = (wrong_DNHW == index).sum(axis=(1, 2, 3))
        parts = [
            (drawn.whole, group_D >= 0),
            (drawn.half, group_D < GROUPS / 2),
            *((drawn.without[group], group_D != group) for group in range(GROUPS)),
        ]
        for part, chosen_D in parts:
            assert part.counts_2K.sum(axis=1).tolist() == [labels_NHW.size - positives, positives]
            assert part.draws == chosen_D.sum()
            found = (part.counts_2K * np.arange(part.draws + 1)).sum()
            assert found == labelled_D[chosen_D].sum()


def test_what_is_kept_of_fewer_draws_changes_nothing(slices):
    drawn = []

    def draw(labels_1HW, draw, rows):
        drawn.append((draw, *rows))
        return choppy(4)(labels_1HW, draw=draw, rows=rows)

    kept = {}
    count_shares(slices, draw, 16, 2, kept)
    found = count_shares(slices, draw, 32, 2, kept)
    assert len(drawn) == len(set(drawn)) == 32 * len(slices)
    for each, afresh in zip(found, count_shares(slices, choppy(4), 32, 2), strict=True):
        pairs = [(each.whole, afresh.whole), (each.half, afresh.half)]
        for part, other in [*pairs, *zip(each.without, afresh.without, strict=True)]:
            assert np.array_equal(part.counts_2K, other.counts_2K)


def test_label_dice_is_what_the_draws_measure(slices):
    labels_NHW = np.array([labels_HW for _, labels_HW in slices])
    draw = choppy(4)
    wrong_DNHW = [draw(labels_NHW, draw=number, rows=range(3)) for number in range(GROUPS)]
    for index, drawn in enumerate(count_shares(slices, draw, GROUPS, 2), start=1):
        measured = measure(
            chain(*[labels_NHW == index] * GROUPS), np.concatenate(wrong_DNHW) == index
        )
        overlap = drawn.whole.label_overlap()
        assert counts.dice(overlap) == pytest.approx(measured.label_dice)
        assert counts.volume_ratio(overlap) == pytest.approx(measured.volume_ratio)
        assert measured.label_dice < 0.95


@pytest.mark.parametrize("share", [0.1, 1])
def test_the_standard_error_is_about_the_spread_of_independent_estimates(slices, share):
    rule = partial(loss_rule, SAMPLED, share)
    found = [
        [score(each, rule) for each in count_shares(slices, choppy(seed), 64, 2)]
        for seed in range(24)
    ]
    for structure in (0, 1):
        table = pd.DataFrame(each[structure] for each in found)
        # Structures as small as these make it too large.
        assert 0.7 < table["standard_error"].mean() / table["dice"].std() < 2.5


def test_the_change_is_that_from_half_the_draws():
    """Whole: both pixels above 1/2. Half of the draws: the first alone."""
    whole, half = (
        ShareHistogram(np.array(each)) for each in ([[0] * 3, [0, 0, 2]], [[0] * 2, [1, 1]])
    )
    assert Drawn(whole, half, []).change(half_rule) == pytest.approx(1 - 2 / 3)


RATE = 0.3
LOSSES = {
    "plain": ("cross_entropy", None),
    # Decides at 1/9, above the rate at which background flips; the next at 1/101, below it.
    "some": (SAMPLED, 1 / 8),
    "few": (SAMPLED, 0.01),
    "own": (SAMPLED, None),
    "dice": ("dice", None),
    "focal": ("smp.FocalLoss", None),
}


def estimate(dataset, kind, severity, losses=LOSSES, seed=1, name="ceiling.csv"):
    calibration, path = dataset.with_name("calibration.json"), dataset.with_name(name)
    structures = {"disc": {"severity": severity}}
    about = {"dataset": "discs", "perturbation": "mine", "kind": kind, "structures": structures}
    write_json(calibration, about)
    estimate_ceiling(
        dataset, calibration, Perturbation(kind, severity=severity), losses, seed, path
    )
    return pd.read_csv(path).set_index("recipe")


@pytest.fixture
def dataset(tmp_path):
    return write_discs(tmp_path / "discs.h5")


def test_random_flips_cost_nothing_until_the_loss_paints_everything(dataset, caplog):
    with Dataset(dataset) as data:
        share = (data.read_labels(data.rows("test")) == 1).mean()
        own_share = data.foreground_fraction[1]
    assert 1 / 101 < RATE * own_share / (1 - own_share) < 1 / 9
    found = estimate(dataset, "random", RATE)
    assert found["dice"].to_dict() == pytest.approx(
        {
            **dict.fromkeys(["plain", "some", "own", "dice"], 1),
            "few": 2 * share / (1 + share),
            "focal": np.nan,
        },
        abs=2 * TOLERANCE,
        nan_ok=True,
    )
    assert found["dice_at_half"].tolist() == pytest.approx([1] * len(LOSSES), abs=2 * TOLERANCE)
    assert found["threshold"]["own"] == pytest.approx(own_share / (1 + own_share))
    # Against the wrong labels, the true ones have Dice 1 - RATE.
    assert found["threshold"]["dice"] == pytest.approx((1 - RATE) / 2, abs=0.01)
    assert found["label_dice"].tolist() == pytest.approx([1 - RATE] * len(LOSSES), abs=0.01)
    assert found["volume_ratio"]["few"] == pytest.approx(1 / share, rel=0.02)
    # A share of 64 draws lies above 1/9 by chance in more pixels than that.
    assert (found["draws"] > 64).all()
    assert (found.filter(regex="^(standard_error|change)").max() < TOLERANCE).all()
    assert found["structure"].unique().tolist() == ["disc"]
    assert found["perturbation"].unique().tolist() == ["mine"]
    assert "recipe focal: where smp.FocalLoss decides is not known" in caplog.text
    assert "recipe dice" not in caplog.text


def test_a_control_has_a_ceiling_of_one(dataset):
    found = estimate(dataset, "control", 0).drop("focal")
    perfect = found.filter(regex="dice|precision|recall|volume_ratio")
    assert perfect.shape == (5, 9) and (perfect == 1).all(axis=None)
    assert (found.filter(regex="^(standard_error|change)") == 0).all(axis=None)


def test_equal_seeds_give_equal_files(dataset, monkeypatch):
    monkeypatch.setattr(module, "MOST_DRAWS", 64)
    for seed, name in ((1, "a.csv"), (1, "b.csv"), (2, "c.csv")):
        estimate(dataset, "choppy", 2.0, seed=seed, name=name)
    first, again, other = (dataset.with_name(f"{name}.csv").read_bytes() for name in "abc")
    assert first == again != other


def test_an_error_that_is_left_is_said(dataset, monkeypatch, caplog):
    monkeypatch.setattr(module, "MOST_DRAWS", 128)
    found = estimate(dataset, "choppy", 3.0)
    assert (found["draws"] == 128).all()
    largest = found.filter(regex="^(standard_error|change)").max(axis=None)
    assert largest > TOLERANCE
    assert f"an error of {largest:.4f} is left" in caplog.text
