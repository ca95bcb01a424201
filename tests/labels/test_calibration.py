"""Calibration: the target is met, is a property of the set, and what cannot be met is said."""

import numpy as np
import pytest

from labelnoise.errors import InputError
from labelnoise.labels import calibration
from labelnoise.labels.calibration import assess, calibrate
from labelnoise.labels.error import dice, measure, overlap
from labelnoise.labels.perturbations import perturb

BOUNDARY = ("natural", "choppy")


def discs(number, size, low, high, seed=0):
    """Discs of radius low to high at places that differ."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    radii = rng.uniform(low, high, number)
    places = rng.uniform(high, size - high, (number, 2))
    masks = [np.hypot(y - r, x - c) <= d for (r, c), d in zip(places, radii, strict=True)]
    return np.array(masks, np.uint8)


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    """Tests need the method, not its full precision."""
    monkeypatch.setattr(calibration, "ENOUGH_SLICES", 100)
    monkeypatch.setattr(calibration, "STANDARD_ERROR", 3)


@pytest.mark.parametrize("target", [0.95, 0.90, 0.85])
@pytest.mark.parametrize("kind", ["natural", "choppy", "random"])
@pytest.mark.parametrize(("low", "high"), [(9, 14), (4, 7)], ids=["large", "small"])
def test_the_target_is_met_within_the_tolerance(kind, target, low, high):
    masks_NHW = discs(40, 64, low, high)
    found = calibrate(masks_NHW, kind, target, masks_NHW.mean(), 5)
    assert found.error.label_dice == pytest.approx(target, abs=0.002)
    assert found.draws * len(masks_NHW) >= 100
    assert found.evaluations <= 12
    if kind == "random":
        assert found.severity == pytest.approx(1 - target)


def test_a_larger_error_takes_a_larger_severity():
    masks_NHW = discs(20, 64, 8, 12)
    for kind in BOUNDARY:
        severities = [calibrate(masks_NHW, kind, t, None, 5).severity for t in (0.95, 0.9, 0.85)]
        assert severities == sorted(severities) and severities[0] > 0


@pytest.mark.parametrize("kind", BOUNDARY)
def test_the_severity_is_a_property_of_the_set_and_not_of_the_draws(monkeypatch, kind):
    monkeypatch.setattr(calibration, "ENOUGH_SLICES", 200)
    masks_NHW = discs(50, 64, 8, 12)
    found = calibrate(masks_NHW, kind, 0.9, None, seed=5)
    rng = np.random.default_rng(99)
    fresh = [
        measure(masks_NHW, [perturb(m, kind, found.severity, rng) for m in masks_NHW]).label_dice
        for _ in range(20)
    ]
    assert np.mean(fresh) == pytest.approx(0.9, abs=0.005)
    # The stated spread between draws is that of fresh draws.
    assert np.std(fresh, ddof=1) == pytest.approx(found.draw_sd, rel=0.6)


@pytest.mark.parametrize("kind", BOUNDARY)
def test_draws_are_added_until_fresh_ones_average_within_the_tolerance(monkeypatch, kind):
    monkeypatch.setattr(calibration, "STANDARD_ERROR", 1 / 3)
    monkeypatch.setattr(calibration, "TOLERANCE", 0.004)
    masks_NHW = discs(20, 48, 6, 9)
    found = calibrate(masks_NHW, kind, 0.9, None, seed=5, tolerance=0.004)
    standard_error = found.draw_sd / found.draws**0.5
    assert found.draws > 6 and standard_error == pytest.approx(0.004 / 3, rel=0.2)
    rng = np.random.default_rng(99)
    fresh = [m for m in masks_NHW for _ in range(60)]
    counts = [overlap(m, perturb(m, kind, found.severity, rng)) for m in fresh]
    assert dice(np.sum(counts, axis=0)) == pytest.approx(0.9, abs=0.004)
    given = assess(masks_NHW, kind, found.severity, None, seed=5)
    assert given.draws == pytest.approx(found.draws, rel=0.2)
    assert given.error.label_dice == pytest.approx(0.9, abs=0.002)


def test_the_spread_between_draws_is_that_of_their_label_dice():
    masks_NHW = discs(6, 48, 6, 9)
    trial, _ = calibration._trial(masks_NHW, "natural", None, 5)
    trial.draws = 200
    tp, fp, fn, _ = trial.counts(1.5).sum(axis=1).T
    dice = 2 * tp / (2 * tp + fp + fn)
    assert trial.draw_sd(1.5) == pytest.approx(dice.std(ddof=1), rel=0.15)


def test_the_same_seed_gives_the_same_calibration():
    masks_NHW = discs(10, 48, 6, 9)
    found = [calibrate(masks_NHW, "natural", 0.9, None, seed) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("kind", ["control", "natural", "choppy", "random"])
def test_target_1_is_severity_0(kind):
    found = calibrate(discs(4, 32, 4, 6), kind, 1.0, 0.1, 0)
    assert (found.severity, found.draw_sd) == (0, 0)
    assert (found.error.label_dice, found.error.volume_ratio) == (1, 1)


@pytest.mark.parametrize("kind", ["natural", "choppy", "random"])
def test_empty_slices_count_for_random_alone(kind):
    masks_NHW = discs(20, 48, 6, 9)
    with_empty_NHW = np.concatenate([masks_NHW, np.zeros_like(masks_NHW)])
    fraction = with_empty_NHW.mean()
    found = calibrate(with_empty_NHW, kind, 0.9, fraction, 5)
    assert found.error.label_dice == pytest.approx(0.9, abs=0.002)
    if kind == "random":
        assert found.severity == pytest.approx(0.1)
        assert found.error.volume_ratio == pytest.approx(1, abs=0.01)
    else:
        assert found == calibrate(masks_NHW, kind, 0.9, fraction, 5)


def test_random_meets_the_target_with_a_fraction_that_is_not_the_sets_own():
    masks_NHW = discs(40, 64, 8, 12)
    found = calibrate(masks_NHW, "random", 0.9, 2 * masks_NHW.mean(), 5)
    assert found.severity < 0.08
    assert found.error.label_dice == pytest.approx(0.9, abs=0.002)
    assert found.error.volume_ratio > 1.05


class Slices:
    """Slices that are made when asked for, as from a file; sizes grow along the set."""

    def __len__(self):
        return 200

    def __getitem__(self, index):
        if index >= 200:
            raise IndexError(index)
        return discs(1, 48, 4 + index / 40, 5 + index / 40, index)[0] * (index % 4 > 0)


@pytest.mark.parametrize("kind", BOUNDARY)
def test_a_large_set_is_represented_by_evenly_spaced_slices_with_foreground(monkeypatch, kind):
    monkeypatch.setattr(calibration, "MOST_SLICES", 16)
    monkeypatch.setattr(calibration, "ENOUGH_SLICES", 64)
    found = calibrate(Slices(), kind, 0.9, None, 5)
    trial, _ = calibration._trial(Slices(), kind, None, 5)
    masks = [mask_HW for part in trial.parts for mask_HW in part.masks]
    assert (len(masks), found.draws) == (16, 4)
    whole = [mask_HW.tobytes() for mask_HW in Slices()]
    rows = [whole.index(mask_HW.tobytes()) for mask_HW in masks]
    assert all(mask_HW.any() for mask_HW in masks)
    assert (rows[0], rows[-1]) == (1, 199)
    assert set(np.diff(rows)) <= {12, 13, 14, 15}  # 198 rows in 15 steps, empty ones skipped
    assert found.error.label_dice == pytest.approx(0.9, abs=0.002)


def test_a_part_of_a_set_takes_the_whole_sets_balance_for_random(monkeypatch):
    monkeypatch.setattr(calibration, "MOST_SLICES", 15)
    fraction = np.mean([Slices()[index].mean() for index in range(200)])
    found = calibrate(Slices(), "random", 0.9, fraction, 5)
    assert found.severity == pytest.approx(0.1)
    assert found.error.label_dice == pytest.approx(0.9, abs=0.003)
    assert found.error.volume_ratio == pytest.approx(1, abs=0.01)


def test_a_target_out_of_reach_names_kind_target_and_range():
    masks_NHW = discs(10, 32, 4, 6)
    message = (
        r"natural: target label Dice 0.1 is out of reach .* from 0\.[2-9]\d\d to 1\.000; choose"
    )
    with pytest.raises(InputError, match=message):
        calibrate(masks_NHW, "natural", 0.1, None, 0)
    # Three quarters foreground: p may rise to 1/3, where label Dice is 2/3.
    masks_NHW = np.tile(np.array([[1, 1], [1, 0]], np.uint8), (4, 8, 8))
    with pytest.raises(InputError, match=r"random: target label Dice 0.6 .* from 0\.667 to 1\.000"):
        calibrate(masks_NHW, "random", 0.6, 0.75, 0)
    assert calibrate(masks_NHW, "random", 0.7, 0.75, 0).severity == pytest.approx(0.3)


def test_a_target_between_two_steps_names_both_sides(monkeypatch):
    monkeypatch.setattr(calibration, "ENOUGH_SLICES", 2)
    pixel_NHW = np.zeros((1, 9, 9), np.uint8)
    pixel_NHW[0, 4, 4] = 1
    with pytest.raises(InputError, match=r"choppy: .* steps from 1.000 to 0\.\d+ .*more mas"):
        calibrate(pixel_NHW, "choppy", 0.95, None, 0)


def test_other_impossible_wishes_are_refused():
    with pytest.raises(InputError, match="no foreground in 3 masks"):
        calibrate(np.zeros((3, 8, 8), np.uint8), "natural", 0.9, None, 0)
    with pytest.raises(InputError, match="foreground fraction is None"):
        calibrate(discs(2, 16, 2, 3), "random", 0.9, None, 0)


@pytest.mark.parametrize("kind", ["natural", "choppy", "random"])
def test_a_given_severity_is_assessed_as_when_it_was_solved_for(kind):
    masks_NHW = discs(10, 48, 6, 9)
    found = calibrate(masks_NHW, kind, 0.9, masks_NHW.mean(), 5)
    assessed = assess(masks_NHW, kind, found.severity, masks_NHW.mean(), 5)
    assert (assessed.severity, assessed.error) == (found.severity, found.error)
    assert (assessed.draws, assessed.draw_sd) == (found.draws, found.draw_sd)
    assert assess(masks_NHW, "control", 0, None, 5).error.label_dice == 1
