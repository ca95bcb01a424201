"""Given labels as an error: measured, drawn for a share of the cases or in a mixture, stored."""

import json

import numpy as np
import pytest

from labelnoise.data.storage import Dataset, GivenLabels, LabelFile, write_dataset, write_labels
from labelnoise.labels import calibration
from labelnoise.labels.dataset import calibrate_dataset, perturb_dataset
from labelnoise.labels.drawing import CalibratedError, Drawer
from labelnoise.study import Perturbation

SIZE, CASES = 8, 10
SPLITS = ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
GIVEN = Perturbation("given")
CHOPPY = Perturbation("choppy", severity=1.0)


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    """Calibration has tests of its own."""
    monkeypatch.setattr(calibration, "ENOUGH_SLICES", 12)
    monkeypatch.setattr(calibration, "STANDARD_ERROR", 100)


@pytest.fixture
def dataset(tmp_path):
    """Squares of 16 pixels, a slice a case."""
    labels_NHW = np.zeros((CASES, SIZE, SIZE), np.uint8)
    labels_NHW[:, 2:6, 2:6] = 1
    path = tmp_path / "squares.h5"
    names = ["background", "square"]
    with write_dataset(
        path, name="squares", class_names=names, window=(0, 1), provenance={}
    ) as writer:
        for case, split in enumerate(SPLITS):
            labels_1HW = labels_NHW[case : case + 1]
            writer.append(f"case{case}", split, [0], labels_1HW - 0.5, labels_1HW)
    return path


@pytest.fixture
def intern(dataset):
    """Of each square the upper 12 pixels and 4 wrong ones; the last case has none."""
    labels_NHW = np.zeros((CASES - 1, SIZE, SIZE), np.uint8)
    labels_NHW[:, 2:5, 2:6] = labels_NHW[:, 0, 2:6] = 1
    return write_given(dataset.with_name("intern.h5"), labels_NHW)


def write_given(path, labels_NHW):
    about = {"dataset": "squares", "perturbation": "intern", "kind": "given", "seed": 0}
    about["classes"] = 2
    nothing = {"severities": {}, "foreground_fractions": {}}
    rows, shape = range(len(labels_NHW)), labels_NHW.shape[1:]
    with write_labels(path, rows=rows, shape=shape, draws=1, **about, **nothing) as writer:
        writer.write(0, 0, labels_NHW)
    return path


def make_labels(dataset, perturbation, given, repeat=0, name="intern"):
    """Calibrate and draw labels; return the label file and both JSON files' structures."""
    found, labels, measured = (dataset.with_name(end) for end in ("c.json", "l.h5", "m.json"))
    calibrate_dataset(dataset, name, perturbation, 1, found, given)
    perturb_dataset(dataset, found, perturbation, repeat, 1, labels, measured, given)
    structures = (json.loads(path.read_text())["structures"] for path in (found, measured))
    return LabelFile(labels), *(each["square"] for each in structures)


def test_errors_are_those_counted_by_hand(dataset, intern):
    labels, calibrated, measured = make_labels(dataset, GIVEN, {"intern": intern})
    for found in (calibrated, measured):
        assert found["label_dice"] == found["precision"] == found["recall"] == 24 / 32
        assert found["volume_ratio"] == 1
        assert np.isnan(found["severity"]) and found["target_dice"] is None
    assert calibrated["draws"] == 1 and calibrated["label_dice_sd_between_draws"] == 0
    assert labels.rows.tolist() == [*range(8)] and labels.severities.keys() == {1}
    given = GivenLabels.of(LabelFile(intern))
    np.testing.assert_array_equal(labels.read(labels.rows, 0), given.read(labels.rows))


def test_repeats_have_the_same_labels(dataset, intern):
    drawn = [make_labels(dataset, GIVEN, {"intern": intern}, repeat)[0] for repeat in (0, 1)]
    np.testing.assert_array_equal(*(each.read(each.rows, 0) for each in drawn))


def test_an_empty_annotation_has_a_dice_of_nothing(dataset):
    path = write_given(dataset.with_name("none.h5"), np.zeros((CASES, SIZE, SIZE), np.uint8))
    _, calibrated, _ = make_labels(dataset, GIVEN, {"intern": path})
    assert calibrated["label_dice"] == calibrated["volume_ratio"] == 0
    assert np.isnan(calibrated["precision"])


def test_the_label_file_draws_test_slices_and_says_which_it_cannot(dataset, intern):
    labels, *_ = make_labels(dataset, GIVEN, {"intern": intern})
    intern.unlink()
    with Dataset(dataset) as data:
        drawer = Drawer(data, CalibratedError.of(labels))
        assert drawer.knows(range(CASES)).tolist() == [True] * 9 + [False]
        assert drawer.labels([8], 0).sum() == 16 and (drawer.labels([8], 0) == 0)[0, 5].all()


def test_a_share_hits_cases_and_the_rest_is_the_reference(dataset, intern):
    half = Perturbation("given", settings={"share": 0.5, "share_of": "cases"})
    hit = []
    for repeat in range(4):
        labels, calibrated, measured = make_labels(dataset, half, {"intern": intern}, repeat)
        with Dataset(dataset) as data:
            train = data.rows("train")
            changed_n = (labels.read(train, 0) != data.read_labels(train)).any(axis=(1, 2))
        assert changed_n.sum() == 3
        hit.append(tuple(changed_n))
        # 12 of 16 pixels in half of the cases: (12 + 16) / 2 of 16.
        assert calibrated["label_dice"] == measured["label_dice"] == 28 / 32
    assert len(set(hit)) > 1


@pytest.mark.parametrize("draws", [1, "per_epoch"])
def test_a_mixture_gives_each_case_one_of_several(dataset, intern, draws):
    other = np.zeros((CASES, SIZE, SIZE), np.uint8)
    other[:, 2:6, 2:4] = 1
    both = {"intern": intern, "other": write_given(dataset.with_name("other.h5"), other)}
    parts = {"intern": GIVEN.as_dict(), "other": GIVEN.as_dict(), "choppy": CHOPPY.as_dict()}
    mixed = Perturbation("mixture", draws=draws, settings={"of": parts, "weights": None})
    labels, calibrated, _ = make_labels(dataset, mixed, both, name="mixed")
    assert calibrated["errors"].keys() == parts.keys() and labels.given.keys() == both.keys()
    for path in both.values():
        path.unlink()
    with Dataset(dataset) as data:
        drawer = Drawer(data, CalibratedError.of(labels))
        train = data.rows("train")
        drawn = [drawer.labels(train, draw) for draw in range(4)]
        np.testing.assert_array_equal(drawn[0], labels.read(train, 0))
        assert drawer.knows(range(CASES)).tolist() == [True] * 9 + [False]
        for labels_NHW in drawn:
            upper_n = [labels_HW[0, 2:6].all() for labels_HW in labels_NHW]
            left_n = [(labels_HW == other[0]).all() for labels_HW in labels_NHW]
            # Two cases of six each.
            assert sum(upper_n) == sum(left_n) == 2
        assert any((drawn[0] != each).any() for each in drawn[1:])
