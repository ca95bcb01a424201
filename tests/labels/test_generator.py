"""The generator as a library: what it promises of any array, and what it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import labelnoise
from labelnoise.labels.drawing import CalibratedError, Drawer
from labelnoise.labels.generator import ACCEPTED, KINDS, Reference, define_error, perturb
from refusals import refusal

SPACING = (3.0, 1.0, 1.0)
# Kinds of which label Dice has no step of a hundredth on the labels below.
SMOOTH = ("natural", "choppy", "rater", "bias")


def ball(shape, centre, radius):
    """A ball in mm of an array of SPACING."""
    grid = np.indices(shape) - np.reshape(centre, (3, 1, 1, 1))
    return np.einsum("i,izyx->zyx", np.square(SPACING), np.square(grid)) <= radius**2


def organs(dtype=np.int16, values=(5, 255), shape=(9, 40, 64)):
    """Two organs that lie apart, of these values."""
    labels = np.zeros(shape, dtype)
    labels[ball(shape, (4, 18, 18), 13)] = values[0]
    labels[ball(shape, (4, 20, 48), 9)] = values[1]
    return labels


def dice(reference, wrong):
    return 2 * (reference & wrong).sum() / (reference.sum() + wrong.sum())


@pytest.mark.parametrize("kind", KINDS)
def test_severity_0_changes_nothing_and_no_input_is_changed(kind):
    labels = organs()
    kept = labels.copy()
    found = perturb(labels, kind, severity=0, spacing=SPACING)
    np.testing.assert_array_equal(found, labels)
    assert found is not labels and not np.shares_memory(found, labels)
    perturb(labels, kind, severity=0.3, spacing=SPACING)
    np.testing.assert_array_equal(labels, kept)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_give_equal_labels_and_others_do_not(kind):
    labels, size = organs(), {"severity": 0.4, "spacing": SPACING}
    if kind == "interpolated":
        size["severity"] = 1.0
    if kind == "spurious":
        labels, size["severity"] = np.where(ball(labels.shape, (4, 9, 9), 5), 7, 0), 3
    first, again = (perturb(labels, kind, seed=7, **size) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    if kind in ("bias", "polygon"):  # nothing is drawn
        return
    different = {"seed": {"seed": 8}, "draw": {"seed": 7, "draw": 1}}
    for _ in range(9):
        if all((perturb(labels, kind, **size, **how) != first).any() for how in different.values()):
            return
        different = {name: {**how, "seed": how["seed"] + 1} for name, how in different.items()}
    pytest.fail("no other seed or draw gives other labels")


@pytest.mark.parametrize("kind", SMOOTH)
@pytest.mark.parametrize("spacing", [SPACING, None])
def test_every_structure_has_the_label_dice_that_was_asked_for(kind, spacing):
    labels = organs()
    for target, seed in ((0.9, 0), (0.75, 1)):
        wrong = perturb(labels, kind, dice=target, spacing=spacing, seed=seed)
        for value in (5, 255):
            assert dice(labels == value, wrong == value) == pytest.approx(target, abs=0.003)
        assert set(np.unique(wrong)) == {0, 5, 255}


@pytest.mark.parametrize("kind", ["translation", "polygon"])
def test_where_label_dice_has_steps_the_nearest_is_taken(kind):
    labels = organs()
    wrong = perturb(labels, kind, dice=0.9, spacing=SPACING)
    for value in (5, 255):
        assert abs(dice(labels == value, wrong == value) - 0.9) <= ACCEPTED + 0.005


def test_random_has_it_on_average():
    labels = organs(shape=(9, 80, 128))
    wrong = [perturb(labels, "random", dice=0.8, seed=seed) for seed in range(8)]
    for value in (5, 255):
        found = [dice(labels == value, each == value) for each in wrong]
        # Of 8 draws of some 800 pixels and more.
        assert np.mean(found) == pytest.approx(0.8, abs=0.02)


@settings(max_examples=25, deadline=None)
@given(
    arrays.arrays(np.uint8, st.tuples(*[st.integers(1, 9)] * 3), elements=st.sampled_from([0, 3])),
    st.sampled_from([bool, np.uint8, np.int8, np.uint16, np.int64, np.uint64]),
    st.sampled_from(["rater", "natural", "choppy", "omission"]),
    st.integers(0, 2**40),
)
def test_any_array_keeps_its_shape_type_and_values(labels, dtype, kind, seed):
    labels = labels.astype(dtype)
    for array in (labels, labels[0], np.asfortranarray(labels), labels[::-1, :, ::-1]):
        wrong = perturb(array, kind, severity=0.5, seed=seed)
        assert wrong.shape == array.shape and wrong.dtype == labels.dtype
        assert set(np.unique(wrong).tolist()) <= set(np.unique(array).tolist()) | {0}


def test_the_draw_is_that_of_a_study_on_the_same_labels():
    labels = organs(values=(1, 2)).astype(np.uint8)
    chosen = {"bias_share": 0.5, "length_z": 4.0}
    completed = define_error("rater", None, 1.2, chosen).settings
    error = CalibratedError("rater", {1: 1.2, 2: 1.2}, {}, 11, settings=completed)
    source = Reference(labels, np.array(SPACING))
    expected = Drawer(source, error).labels(range(len(labels)), 2)
    found = perturb(labels, "rater", severity=1.2, spacing=SPACING, seed=11, draw=2, **chosen)
    np.testing.assert_array_equal(found, expected)
    # Values are names: what matters is their order.
    other = perturb(organs(), "rater", severity=1.2, spacing=SPACING, seed=11, draw=2, **chosen)
    np.testing.assert_array_equal(other, np.array([0, 5, 255])[expected])


def test_a_bias_moves_every_outline_by_its_millimetres():
    row = np.zeros((1, 15), int)
    row[0, 5:10] = 4
    for spacing, sign, pixels in (((1, 1), 1, 9), ((1, 1), -1, 1), ((1, 2), 1, 7), (None, 1, 9)):
        wrong = perturb(row, "bias", severity=2, spacing=spacing, sign=sign)
        assert (wrong == 4).sum() == pixels
    assert (perturb(row, "bias", severity=2, pixel=2) == 4).sum() == 7


def test_without_spacing_slices_are_on_their_own():
    labels = organs()
    alone = perturb(labels, "rater", severity=1, bias_share=0)
    whole = perturb(labels, "rater", severity=1, bias_share=0, spacing=SPACING, length_z=50)
    unknown = perturb(labels, "rater", severity=1, bias_share=0, spacing=(np.nan, 1, 1))
    np.testing.assert_array_equal(alone, unknown)
    assert (alone != whole).any()


def test_what_nobody_annotated_stays_as_it_is():
    labels = organs(values=(1, 2))
    labels[:, 10:14] = 9
    wrong = perturb(labels, "rater", dice=0.8, spacing=SPACING, ignore=[9])
    np.testing.assert_array_equal(wrong == 9, labels == 9)
    for value in (1, 2):
        assert dice(labels == value, wrong == value) == pytest.approx(0.8, abs=0.003)


def test_labels_without_a_structure_stay_empty_under_a_severity():
    empty = np.zeros((3, 8, 8), np.uint8)
    for kind in KINDS:
        assert not perturb(empty, kind, severity=0.5, spacing=SPACING).any()


def test_copies_of_objects_land_where_the_image_is_as_bright():
    labels = np.zeros((40, 80), np.uint8)
    labels[10:14, 10:14] = 1
    images = np.zeros(labels.shape)
    images[:, :40] = np.where(labels[:, :40] == 1, 100, 101 + np.indices((40, 40)).sum(0) % 2)
    images[10:14, 10:14] += np.arange(4)  # so that the structure has a spread
    added = np.zeros(labels.shape, bool)
    for seed in range(5):
        chosen = {"severity": 4, "where": "intensity", "seed": seed}
        added |= perturb(labels, "spurious", images=images, **chosen) > labels
    assert added.any() and not added[:, 40:].any()


LABELS = organs()
REFUSED = [
    (dict(labels=LABELS * 1.0), "the labels are of type float64, expected an array of whole"),
    (dict(labels="a.nii"), "the labels are of type <U5"),
    (dict(labels=[[0, 1], [1]]), "the labels are of type list"),
    (dict(labels=[["a", None]]), "the labels are of type list"),
    (dict(labels=-LABELS.astype(int)), "the value -5 is negative, expected label values"),
    (dict(labels=np.zeros(4, int)), "the labels have shape (4,), expected (height, width)"),
    (dict(labels=np.zeros((2, 2, 2, 2), int)), "the labels have shape (2, 2, 2, 2)"),
    (dict(labels=np.zeros((0, 4), int)), "the labels have shape (0, 4)"),
    (dict(labels=np.arange(400).reshape(20, 20)), "399 structures (1-3 ...), expected at most 255"),
    (dict(labels=LABELS * 0), "the labels hold no structure, so their label Dice is not defined"),
    (dict(dice=None), "neither dice nor severity"),
    (dict(severity=1.0), "both dice and severity are given"),
    (dict(dice=0), "dice is 0, expected a number above 0 and at most 1"),
    (dict(dice=1.01), "dice is 1.01"),
    (dict(dice=float("nan")), "dice is nan"),
    (dict(dice="0.9"), "dice is '0.9'"),
    (dict(dice=True), "dice is true"),
    (dict(dice=None, severity=float("nan")), "'severity' is nan; expected a finite number"),
    (dict(dice=None, severity=float("inf")), "'severity' is inf"),
    (dict(dice=None, severity=-1), "the setting 'severity' is -1; expected a number >= 0"),
    (dict(dice=None, severity="1"), "'severity' is '1'; expected a value of type number"),
    (dict(kind="random", dice=None, severity=1.5), "for random it is a probability"),
    (dict(labels=LABELS == 0, kind="random", dice=0.1), "out of reach"),
    (dict(kind="ratr"), "the kind is 'ratr', expected one of natural, choppy"),
    (dict(kind="given"), "the kind is 'given', expected one of"),
    (dict(kind=3), "the kind is 3"),
    (dict(bias_shar=1), "rater has no setting 'bias_shar'; did you mean 'bias_share'?"),
    (dict(target_dice=1), "rater has no setting 'target_dice'"),
    (dict(draws=2), "rater has no setting 'draws'"),
    (dict(kind="natural", length=1), "natural has no setting 'length'; it takes share, share_of."),
    (dict(bias_share=2), "the setting 'bias_share' is 2; expected a number <= 1 (share of the"),
    (dict(length=float("inf")), "the setting 'length' is inf; expected a finite number"),
    (dict(kind="bias", sign=0), "the setting 'sign' is 0; expected one of: 1, -1"),
    (dict(spacing=(1, 1)), "the spacing is (1, 1), expected 3 positive numbers"),
    (dict(spacing=(1, 1, 0)), "the spacing is (1, 1, 0)"),
    (dict(spacing=(1, float("nan"), 1)), "the spacing is (1, nan, 1)"),
    (dict(spacing="fine"), "the spacing is 'fine'"),
    (dict(labels=LABELS[4], spacing=SPACING), "expected 2 positive numbers, the mm between rows"),
    (dict(seed=-1), "the seed is -1, expected a whole number of at least 0"),
    (dict(seed=1.5), "the seed is 1.5"),
    (dict(seed=None), "the seed is null"),
    (dict(draw=-1), "the draw is -1"),
    (dict(ignore=[-1]), "the value to ignore is -1"),
    (dict(kind="spurious", where="intensity"), "the labels come without images"),
    (dict(kind="spurious", images=np.zeros((2, 2))), "the images are of type float64 and shape"),
    (dict(kind="spurious", images=LABELS * np.nan), "the images hold NaN or infinity"),
    (dict(kind="omission", dice=0.5), "label Dice steps from"),
    (dict(dice=1e-6), "out of reach"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "says"), REFUSED, ids=lambda each: str(each)[:30])
def test_refusals(change, says):
    arguments = {"labels": LABELS, "kind": "rater", "dice": 0.9, "spacing": None} | change
    said = refusal(perturb, **arguments)
    assert says in said and said.endswith((".", "?")) and "\n" not in said


def test_a_target_out_of_reach_names_the_structure():
    assert refusal(perturb, LABELS, "omission", dice=0.5).startswith("value 255: omission: ")


def test_importing_and_using_it_needs_no_torch():
    code = """
import sys, numpy as np, labelnoise
labels = np.zeros((4, 24, 24), np.uint8)
labels[1:, 5:15, 6:17] = 3
for kind in ("rater", "natural", "omission"):
    labelnoise.perturb(labels, kind, severity=0.5, spacing=(2, 1, 1))
labelnoise.perturb(labels, "rater", dice=0.9, spacing=(2, 1, 1))
print({"torch", "pandas", "matplotlib"} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(labelnoise.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"
