"""What the picture figures show: every structure on its own rows, typical slices of each."""

import json

import numpy as np
import pytest

from labelnoise.data.storage import Dataset, write_dataset
from labelnoise.errors import InputError
from labelnoise.report.figures.panels import perturbed_panels, predicted_panels

STRUCTURES = {"liver": 1, "tumour": 2}


@pytest.fixture
def data(tmp_path):
    """Seven cases of two slices: liver is 20 x 20, the tumour beside it grows with the slice."""
    path = tmp_path / "two.h5"
    settings = {"name": "two", "window": (0, 1), "provenance": {}}
    with write_dataset(path, class_names=["background", *STRUCTURES], **settings) as writer:
        for case in range(7):
            labels = np.zeros((2, 48, 48), np.uint8)
            labels[:, 4:24, 4:24] = 1
            labels[0, 30:38, 30:38] = labels[1, 30:40, 30:40] = 2
            # No test slice of the first test case shows the tumour.
            if case == 4:
                labels[labels == 2] = 0
            split = "train" if case < 4 else "test" if case < 6 else "validation"
            images = np.random.default_rng(case).uniform(-1, 1, labels.shape)
            writer.append(f"case{case}", split, range(2), images, labels)
    with Dataset(path) as data:
        yield data


def calibration(folder, **severities):
    path = folder / "choppy-0.85.json"
    structures = {name: {"severity": value} for name, value in severities.items()}
    content = {"perturbation": "choppy-0.85", "kind": "choppy", "structures": structures}
    path.write_text(json.dumps(content))
    return path


def test_every_structure_is_perturbed_at_its_own_severity(data, tmp_path):
    rows, titles = perturbed_panels(data, [calibration(tmp_path, liver=0, tumour=3)], seed=1)
    assert titles == [
        *("liver: disc", "liver: case0, slice 1"),
        *("tumour: disc", "tumour: case0, slice 1"),
    ]
    references = [row[0][2] for row in rows]
    assert (references[1].sum(), references[3].sum()) == (400, 100)
    changed = [(row[0][2] != row[0][3]).any() for row in rows]
    assert changed == [False, False, True, True]


def test_every_structure_has_its_predictions_where_it_shows(data):
    class Perfect:
        def predict_scaled(self, images_NHW):
            """One class a slice: liver everywhere."""
            chosen = np.zeros((len(images_NHW), 3, 48, 48))
            chosen[:, 1] = 1
            return chosen

    rows, titles = predicted_panels(data, {"control": Perfect()})
    assert titles == ["liver: case4, slice 1", "liver: case5, slice 1", "tumour: case5, slice 1"]
    assert [reference.sum() for _, reference, _ in rows] == [400, 400, 100]
    assert [masks[0][1].mean() for *_, masks in rows] == [1, 1, 0]


def test_a_pixel_is_predicted_as_it_is_counted_in_the_test(data):
    class Unsure:
        def predict_scaled(self, images_NHW):
            """Liver is the likeliest class everywhere, and nowhere above one half."""
            return np.tile(np.array([0.3, 0.4, 0.3])[:, None, None], (len(images_NHW), 1, 48, 48))

    rows, _ = predicted_panels(data, {"control": Unsure()})
    assert all(not masks[0][1].any() for *_, masks in rows)


def test_no_error_is_nothing_to_draw(data):
    with pytest.raises(InputError, match=r"matrix\.perturbation.*no label error"):
        perturbed_panels(data, [], seed=1)
