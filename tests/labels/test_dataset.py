"""Labels of a whole dataset: calibrated, drawn, stored and measured."""

import json

import numpy as np
import pytest

from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.errors import InputError
from labelnoise.labels import calibration
from labelnoise.labels import dataset as module
from labelnoise.labels.dataset import calibrate_dataset, perturb_dataset
from labelnoise.study import Perturbation
from tiny import write_discs


@pytest.fixture
def dataset(tmp_path):
    return write_discs(tmp_path / "discs.h5")


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    """Calibration has tests of its own."""
    monkeypatch.setattr(calibration, "ENOUGH_SLICES", 100)
    monkeypatch.setattr(calibration, "STANDARD_ERROR", 3)


def make_labels(dataset, perturbation, repeat=0):
    """Calibrate and draw labels; return the label file and both JSON files' structures."""
    found, labels, measured = (dataset.with_name(name) for name in ("c.json", "l.h5", "m.json"))
    calibrate_dataset(dataset, "mine", perturbation, 1, found)
    perturb_dataset(dataset, found, perturbation, repeat, 1, labels, measured)
    structures = (json.loads(path.read_text())["structures"] for path in (found, measured))
    return LabelFile(labels), *(each["disc"] for each in structures)


def test_a_control_is_the_reference(dataset):
    labels, calibrated, measured = make_labels(dataset, Perturbation("control"))
    with Dataset(dataset) as data:
        np.testing.assert_array_equal(labels.read(labels.rows, 0), data.read_labels(labels.rows))
    assert calibrated["severity"] == measured["severity"] == 0
    assert measured["label_dice"] == measured["volume_ratio"] == 1


def test_a_target_is_solved_for_and_stored(dataset):
    labels, calibrated, measured = make_labels(dataset, Perturbation("choppy", target_dice=0.9))
    assert calibrated["label_dice"] == pytest.approx(0.9, abs=0.005)
    assert labels.severities == {1: calibrated["severity"]}
    assert measured["target_dice"] == calibrated["target_dice"] == 0.9


@pytest.mark.parametrize("draws", [1, 2, "per_epoch"])
def test_what_is_measured_is_what_is_stored_for_training(dataset, draws):
    error = Perturbation("random", severity=0.2, draws=draws)
    labels, _, measured = make_labels(dataset, error)
    assert labels.draws == draws and labels.perturbation == "mine"
    with Dataset(dataset) as data:
        train, validation = data.rows("train"), data.rows("validation")
        assert labels.rows.tolist() == [*train, *validation]
        reference_NHW = data.read_labels(train) == 1
    stored_DNHW = np.array([labels.read(train, draw) == 1 for draw in range(labels.stored_draws)])
    right = (stored_DNHW & reference_NHW).sum()
    sizes = (stored_DNHW.sum(), reference_NHW.sum() * len(stored_DNHW))
    assert measured["label_dice"] == pytest.approx(2 * right / sum(sizes))
    assert measured["volume_ratio"] == pytest.approx(sizes[0] / sizes[1])


def test_repeats_differ_and_chunks_change_nothing(dataset, monkeypatch):
    error = Perturbation("choppy", severity=2.0)
    first, second, again = (make_labels(dataset, error, repeat)[0].digest() for repeat in (0, 1, 0))
    assert first == again != second
    monkeypatch.setattr(module, "CHUNK", 3)
    assert make_labels(dataset, error)[0].digest() == first


def test_a_target_out_of_reach_names_dataset_and_structure(dataset):
    with pytest.raises(InputError, match=r"^dataset discs, disc: natural: .*0\.01"):
        make_labels(dataset, Perturbation("natural", target_dice=0.01))
    assert [path.name for path in dataset.parent.iterdir()] == ["discs.h5"]
