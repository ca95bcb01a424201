"""Kinds of error of the user's own: what they must keep, and that all else takes them as ours."""

import numpy as np
import pytest

from labelnoise.errors import InputError
from labelnoise.labels.calibration import assess, calibrate
from labelnoise.labels.own_kind import check_own_kind, perturb_own
from labelnoise.labels.perturbations import draw_labels, perturb
from own_modules import SHAVE, use

pytestmark = pytest.mark.usefixtures("no_own_code")


def discs(number=4, size=48):
    rows, columns = np.mgrid[:size, :size]
    radii = range(10, 10 + number)
    return [(np.hypot(rows - 24, columns - 24) <= radius).astype(np.uint8) for radius in radii]


def kind_of(tmp_path, body, top=""):
    """Use a kind whose function has this body."""
    lines = "\n".join(f"    {line}" for line in body.split("\n"))
    use(
        tmp_path, "mine", f"import random\nimport numpy as np\n{top}\ndef x(mask, s, rng):\n{lines}"
    )
    return "mine.x"


@pytest.mark.parametrize(
    "body",
    [
        "return mask",
        "return mask.astype(bool)",
        "return mask & (rng.random(mask.shape) >= s / 10)",
        "return np.where(rng.random(mask.shape) < min(s, 1), 1 - mask, mask).astype(np.int64)",
    ],
)
def test_masks_of_any_whole_type_are_taken(tmp_path, body):
    kind = kind_of(tmp_path, body)
    check_own_kind(kind, 7.5)
    wrong_HW = perturb(discs()[0], kind, 0.5, np.random.default_rng(0))
    assert wrong_HW.dtype == np.uint8 and wrong_HW.max() == 1
    mask_HW = discs()[0]
    assert not np.shares_memory(mask_HW, perturb(mask_HW, kind, 0, np.random.default_rng(0)))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return None", r"x of .*mine\.py returns a value of type NoneType for a mask \(40, 48\)"),
        ("return mask[1:]", r"returns an array \(39, 48\) of uint8, .* for a mask \(40, 48\)"),
        ("return mask.astype(float)", r"returns an array \(40, 48\) of float64, values from 0.0"),
        ("return mask * 255", r"values from 0 to 255 .*expected .*whole numbers 0 and 1"),
        ("return mask - 2 * (mask == 0).astype(int)", r"int64, values from -2 to 1"),
        (
            "return mask if s else 1 - mask",
            r"x of .*mine\.py changes a mask at severity 0; make it",
        ),
        ("mask[0, 0] = 1\nreturn mask", r"mine\.py, line 5, in x: ValueError: .*read-only"),
        ("return mask & (np.random.random(mask.shape) > s)", r"equal generators; .* rng\.$"),
        (
            "return np.roll(mask, int(s * random.randrange(40)))",
            r"different masks of equal generat",
        ),
        ("return mask / 0 if mask.all() else undefined", r"line 5, in x: NameError: .*undefined"),
        ("if s == 7.5:\n    raise ValueError('too much')\nreturn mask", r"ValueError: too much"),
        ("if not mask.any():\n    raise ValueError('empty')\nreturn mask", r"ValueError: empty"),
    ],
)
def test_a_kind_that_breaks_a_promise_is_refused_by_name(tmp_path, body, says):
    with pytest.raises(InputError, match=says) as raised:
        check_own_kind(kind_of(tmp_path, body), 7.5)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def x(mask, severity): return mask", r"x of .*mine\.py cannot be called: TypeError"),
        ("x = 3", r"x of .*mine\.py is no function but a value of type int"),
    ],
)
def test_what_cannot_be_called_is_refused(tmp_path, text, says):
    use(tmp_path, "mine", text)
    with pytest.raises(InputError, match=says):
        check_own_kind("mine.x")


def test_an_own_kind_is_calibrated_as_ours(tmp_path):
    use(tmp_path, "mykinds", SHAVE)
    found = calibrate(discs(), "mykinds.shave", 0.85, None, seed=1)
    assert found.error.label_dice == pytest.approx(0.85, abs=0.002)
    assert found.error.precision == 1
    fresh = assess(discs(), "mykinds.shave", found.severity, None, seed=2)
    assert fresh.error.label_dice == pytest.approx(0.85, abs=0.01)


def test_a_target_out_of_reach_is_said_as_for_ours(tmp_path):
    with pytest.raises(InputError, match=r"mine\.x: target label Dice 0\.5 is out of reach"):
        calibrate(discs(), kind_of(tmp_path, "return mask"), 0.5, None, seed=1)


def test_what_an_own_kind_adds_to_empty_slices_counts(tmp_path):
    """One disc and one empty slice, on each of which it paints two rows of 48 pixels more."""
    kind = kind_of(tmp_path, "wrong = mask.copy()\nwrong[:2, :] |= np.uint8(s > 0)\nreturn wrong")
    disc_HW = discs(1)[0]
    empty_HW = np.zeros_like(disc_HW)
    found = assess([disc_HW, empty_HW], kind, 1.0, None, seed=0)
    added = 2 * 48
    area = int(disc_HW.sum())
    assert found.error.label_dice == pytest.approx(2 * area / (2 * area + 2 * added))


def test_draws_of_an_own_kind_are_those_of_its_function(tmp_path):
    code = use(tmp_path, "mykinds", SHAVE)
    labels_NHW = np.stack(discs(2))
    drawn = {"severities": {1: 2.0}, "foreground_fractions": {}, "seed": 5, "draw": 3}
    wrong_NHW = draw_labels(labels_NHW, "mykinds.shave", rows=[4, 9], code=code, **drawn)
    generator = np.random.default_rng(np.random.SeedSequence([5, 3, 9]))
    np.testing.assert_array_equal(
        wrong_NHW[1], perturb_own(labels_NHW[1], "mykinds.shave", 2.0, generator)
    )
    with pytest.raises(InputError, match="expected 0123"):
        draw_labels(labels_NHW, "mykinds.shave", rows=[4, 9], code="0123", **drawn)
