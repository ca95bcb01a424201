"""Of mended labels, the first training slices are the reference's and all others what they were."""

import csv

import numpy as np
import pytest

from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.errors import InputError
from labelnoise.labels.drawing import CalibratedError, Drawer
from labelnoise.labels.mending import mend_labels
from tiny import write_discs, write_error


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_discs(tmp_path_factory.mktemp("data") / "discs.h5")


def write_suspects(path, dataset, **columns):
    """Write a table of suspects of the training slices, and of one test slice."""
    data = Dataset(dataset)
    rows = [*data.rows("train"), data.rows("test")[0]]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "slice", "split", *columns])
        for place, row in enumerate(rows):
            values = [float([*column, 99][place]) for column in columns.values()]
            writer.writerow([data.case[row], data.slice[row], data.split[row], *values])
    return path


def mended_rows(dataset, labels, suspects, order, share, path):
    """Rows whose labels are the reference's after mending; all others are checked."""
    mend_labels(dataset, labels, suspects, order, share, path)
    data, before, after = Dataset(dataset), LabelFile(labels), LabelFile(path)
    reference_NHW = data.read_labels(before.rows)
    mended = []
    for draw in range(before.stored_draws):
        wrong_NHW, now_NHW = before.read(before.rows, draw), after.read(before.rows, draw)
        is_right_N = (now_NHW == reference_NHW).all(axis=(1, 2))
        assert (wrong_NHW != reference_NHW).any(axis=(1, 2)).all()
        np.testing.assert_array_equal(now_NHW[~is_right_N], wrong_NHW[~is_right_N])
        mended.append(before.rows[is_right_N].tolist())
    assert all(rows == mended[0] for rows in mended)
    return mended[0]


def test_the_most_suspicious_training_slices_are_mended_in_every_draw(dataset, tmp_path):
    labels = write_error(tmp_path / "labels.h5", dataset, severity=3.0, draws=2)
    train = Dataset(dataset).rows("train")
    suspicion = [0, 5, 1, 2, 3, 3, 9, 0, 0, 0]
    suspects = write_suspects(tmp_path / "suspects.csv", dataset, loss=suspicion)
    found = mended_rows(dataset, labels, suspects, "loss", 0.2, tmp_path / "mended.h5")
    assert found == train[[1, 6]].tolist()
    # Test and validation labels are still drawn with the error that the run has.
    data, error = Dataset(dataset), CalibratedError.of(LabelFile(tmp_path / "mended.h5"))
    rows = data.rows("validation")
    drawn_NHW = Drawer(data, error).labels(rows, 0)
    np.testing.assert_array_equal(drawn_NHW, LabelFile(labels).read(rows, 0))


def test_orders_without_a_detector(dataset, tmp_path):
    labels = write_error(tmp_path / "labels.h5", dataset, severity=3.0)
    train = Dataset(dataset).rows("train")
    fp, fn = [0, 5, 1, 2, 3, 3, 9, 0, 0, 0], [0, 0, 9, 0, 0, 0, 0, 0, 0, 0]
    suspects = write_suspects(tmp_path / "suspects.csv", dataset, fp=fp, fn=fn)
    here = (dataset, labels, suspects)
    found = mended_rows(*here, "ideal", 0.2, tmp_path / "ideal.h5")
    assert found == train[[2, 6]].tolist()
    found = mended_rows(*here, "random", 0.3, tmp_path / "random.h5")
    assert len(found) == 3 and set(found) <= set(train.tolist())
    assert found == mended_rows(*here, "random", 0.3, tmp_path / "again.h5")
    assert mended_rows(*here, "random", 1, tmp_path / "all.h5") == train.tolist()


def test_suspects_of_other_slices_are_refused(dataset, tmp_path):
    labels = write_error(tmp_path / "labels.h5", dataset)
    suspects = write_suspects(tmp_path / "suspects.csv", dataset, loss=range(10))
    mended = tmp_path / "mended.h5"
    with pytest.raises(InputError, match="lacks the column 'area'"):
        mend_labels(dataset, labels, suspects, "area", 0.1, mended)
    text = suspects.read_text()
    for wrong, sentence in (
        (text.replace("case0", "other"), "of which 2 are none of"),
        (text.replace("case1", "case0"), "of which 0 are none of"),
    ):
        suspects.write_text(wrong)
        with pytest.raises(InputError, match=f"holds 10 training slices, {sentence}"):
            mend_labels(dataset, labels, suspects, "loss", 0.1, mended)
    fresh = write_error(tmp_path / "fresh.h5", dataset, draws="per_epoch")
    with pytest.raises(InputError, match="drawn anew in each epoch"):
        mend_labels(dataset, fresh, suspects, "loss", 0.1, mended)
    assert not mended.exists()
