"""What a trainer writes is taken as it is, or refused by the name of its file."""

import numpy as np
import pytest

from damage import damage
from labelnoise.data.storage import Dataset
from labelnoise.errors import InputError
from labelnoise.training.trainers.predictions import Predictions, read_output, write_predictions
from labelnoise.training.trainers.raw_dataset import asked_parts
from tiny import SIZE, write_discs


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return Dataset(write_discs(tmp_path_factory.mktemp("data") / "discs.h5"))


@pytest.fixture
def output(data, tmp_path):
    """A whole output: of each slice a probability of its own."""
    for number, part in enumerate(asked_parts(data)):
        write(tmp_path / f"{part.name}.npz", (number + 1) / 10)
    (tmp_path / "notes.txt").write_text("not looked at")
    return tmp_path


def write(path, foreground, key="probabilities"):
    shape = (1, SIZE, SIZE)
    values = np.stack([np.full(shape, 1 - foreground), np.full(shape, foreground)])
    np.savez(path, **{key: values.astype(np.float32)})


def test_probabilities_come_back_in_the_order_of_the_rows(data, output, tmp_path):
    parts = asked_parts(data)
    assert len(parts) == 8
    found = read_output(output, parts, data)
    assert found.shape == (8, 2, SIZE, SIZE)
    expected = np.arange(1, 9) / 10
    np.testing.assert_allclose(found[:, 1, 0, 0], expected, rtol=1e-6)
    rows = np.concatenate([part.rows for part in parts])
    write_predictions(tmp_path / "p.h5", rows, found, data, {"run": "r"})
    kept = Predictions(tmp_path / "p.h5")
    assert kept.rows.tolist() == rows.tolist() and kept.classes == ["background", "disc"]
    np.testing.assert_allclose(kept.read(rows[::-1])[:, 1, 5, 5], expected[::-1], atol=3e-4)


def test_small_probabilities_of_both_classes_stay_apart(data, output, tmp_path):
    parts = asked_parts(data)
    found = read_output(output, parts, data)
    found[0, :, 0, 0], found[0, :, 0, 1] = (1 - 1e-6, 1e-6), (1e-5, 1 - 1e-5)
    rows = np.concatenate([part.rows for part in parts])
    write_predictions(tmp_path / "p.h5", rows, found, data, {})
    kept = np.log(Predictions(tmp_path / "p.h5").read(rows[:1])[0])
    odds = (kept[1] - kept[0])[0, :2]
    np.testing.assert_allclose(odds, [np.log(1e-6), -np.log(1e-5)], atol=0.05)


def wrong_shape(path):
    np.savez(path, probabilities=np.zeros((2, SIZE, SIZE)))


def whole_numbers(path):
    np.savez(path, probabilities=np.zeros((2, 1, SIZE, SIZE), int))


def not_finite(path):
    np.savez(path, probabilities=np.full((2, 1, SIZE, SIZE), np.nan))


def logits(path):
    write(path, -3)


def unequal_sums(path):
    np.savez(path, probabilities=np.full((2, 1, SIZE, SIZE), 0.4))


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: path.unlink(), "is missing; the trainer has to write one for each image"),
        (lambda path: write(path, 0.5, "softmax"), "holds no readable array 'probabilities'"),
        (cut, "holds no readable array 'probabilities'"),
        (wrong_shape, r"of shape \(2, 24, 24\) and type float64; expected \(2, 1, 24, 24\)"),
        (whole_numbers, "type int64; expected .* of a floating type"),
        (not_finite, "that are not finite"),
        (logits, "from -3 to 4; expected numbers from 0 to 1"),
        (unequal_sums, "that sum to 0.8; expected 1 over all classes"),
    ],
)
def test_what_is_not_what_was_asked_for_is_refused(data, output, spoil, sentence):
    parts = asked_parts(data)
    spoil(output / f"{parts[3].name}.npz")
    with pytest.raises(InputError, match=rf"{parts[3].name}\.npz .*{sentence}"):
        read_output(output, parts, data)


def test_a_file_of_no_image_is_refused(data, output):
    write(output / "case0000_s000.npz", 0.5)
    with pytest.raises(InputError, match=r"case0000_s000\.npz is of no image in imagesTs"):
        read_output(output, asked_parts(data), data)


def test_a_damaged_byte_is_found_or_changes_nothing(data, output, tmp_path):
    parts = asked_parts(data)[:2]
    rows = np.concatenate([part.rows for part in parts])
    values = np.random.default_rng(0).uniform(size=(2, 2, SIZE, SIZE))
    path = tmp_path / "p.h5"
    write_predictions(path, rows, values, data, {"run": "r"})

    def read(path):
        kept = Predictions(path)
        return kept.rows.tolist(), kept.classes, kept.read(rows).tobytes()

    found = damage(path, read)
    assert not found["other"] and found["sentence"] > 100


def test_a_row_without_predictions_is_named(data, output, tmp_path):
    write_predictions(tmp_path / "p.h5", np.array([3]), np.ones((1, 2, 4, 4)), data, {})
    with pytest.raises(InputError, match="none of row 5"):
        Predictions(tmp_path / "p.h5").read([5])
    with pytest.raises(InputError, match="does not exist; delete the run's folder"):
        Predictions(tmp_path / "q.h5")
