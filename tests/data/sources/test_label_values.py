"""What label values mean: classes, background, or a refusal that tells all of the unknown ones."""

import numpy as np
import pytest

from labelnoise.data.sources.label_values import ranges, to_class_indices
from refusals import refusal

CLASSES = {"liver": [1], "tumour": [2]}


@pytest.mark.parametrize("kind", ["u1", "i2", ">i2", "u4", "i8", "f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_values_become_classes(kind, order):
    stored = np.asarray([[[0, 1, 2, 7]], [[5, 7, 9, 0]]], kind, order=order)
    before = stored.copy()
    classes = {"liver": [1, 2], "kidney": [9], "spleen": [5]}
    indices = to_class_indices(stored, classes, "x", ignore=[7])
    assert indices.dtype == np.uint8
    np.testing.assert_array_equal(indices, [[[0, 1, 1, 0]], [[3, 0, 2, 0]]])
    np.testing.assert_array_equal(stored, before)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0, 1, 0.5], ("0.5", "not whole", "without interpolation")),
        ([0, 1, np.nan], ("nan", "not whole")),
        ([0, 1, np.inf], ("inf", "not whole")),
        ([0, 3, 1], ("1 unknown label values (3)", "only 0-2", "`ignore`", "`others: background`")),
        ([-1, 300, 1], ("2 unknown label values (-1, 300)",)),
        ([1j, 0, 1], ("type complex128",)),
        ([*range(90), 120, 122, 123], ("90 unknown label values (3-89, 120, 122, 123)",)),
        ([-5, -4, -3, -1], ("4 unknown label values (-5 to -3, -1)",)),
    ],
)
def test_other_values_are_refused(values, words):
    message = refusal(to_class_indices, np.reshape(values, (-1, 1, 1)), CLASSES, "label-7.nii")
    for word in ("label-7.nii", *words):
        assert word in message


def test_values_are_gathered_over_all_slices():
    labels = np.zeros((4, 2, 2), np.int16)
    labels[0, 0, 0], labels[3, 1, 1] = 8, 9
    assert "(8, 9)" in refusal(to_class_indices, labels, CLASSES, "x")


def test_others_become_background_if_asked():
    labels = np.array([[[0, 1, 2, 90], [-4, 300, 117, 2]]], np.int16)
    indices = to_class_indices(labels, CLASSES, "x", others="background")
    np.testing.assert_array_equal(indices, [[[0, 1, 2, 0], [0, 0, 0, 2]]])
    # What is no label value at all is no background either.
    message = refusal(to_class_indices, labels / 2, CLASSES, "x", others="background")
    assert "not whole numbers (0.5" in message


@pytest.mark.parametrize("others", ["refuse", "background"])
def test_as_many_structures_as_the_schema_takes(others):
    classes = {f"s{value}": [value] for value in range(1, 256)}
    labels = np.arange(256, dtype=np.uint16).reshape(16, 4, 4)
    indices = to_class_indices(labels, classes, "x", others=others)
    np.testing.assert_array_equal(indices, labels)


def test_values_that_no_table_could_hold():
    labels = np.array([[[0, 7, 2**32 - 1, 2**31]]], np.uint32)
    indices = to_class_indices(labels, {"a": [2**32 - 1], "b": [7]}, "x", ignore=[2**31])
    np.testing.assert_array_equal(indices, [[[0, 2, 1, 0]]])
    message = refusal(to_class_indices, labels + 1, {"a": [2**32 - 1], "b": [7]}, "x")
    assert "3 unknown label values (1, 8, 2147483649)" in message


def test_ranges_end_somewhere():
    assert ranges([5, 3, 4, 9, 11, 10, 1, 2**40]) == "1, 3-5, 9-11, 1099511627776"
    # Every other one of 300 values: an image, not labels.
    assert ranges(range(0, 600, 2)).endswith("196, 198 and 200 more")
