"""Labels are mended by networks that have not seen them, once, and trainings with it go on."""

import json

import numpy as np
import pandas as pd
import pytest

from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.errors import InputError
from labelnoise.study import RunFolder
from labelnoise.training import state
from labelnoise.training.relabelling import deal, mend, relabelled
from tiny import train, write_error, write_files

pytest.importorskip("cleanlab")

IDENTITY = {"recipe": "x"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("data"), severity=2.0)


def test_cases_are_dealt_out_to_folds():
    case_N = np.repeat(["a", "b", "c", "d", "e"], [3, 1, 2, 2, 4])
    fold_N = deal(case_N, 3, seed=5)
    folds = {case: set(fold_N[case_N == case]) for case in "abcde"}
    assert all(len(found) == 1 for found in folds.values())
    sizes = np.bincount([found.pop() for found in folds.values()])
    assert sorted(sizes) == [1, 2, 2]
    assert (deal(case_N, 3, seed=5) == fold_N).all()
    assert any((deal(case_N, 3, seed=seed) != fold_N).any() for seed in range(6, 9))


def test_more_folds_than_cases_are_refused():
    with pytest.raises(InputError, match="folds' is 4, but there are 3 training cases"):
        deal(np.array(["a", "b", "c"]), 4, seed=0)


def test_a_label_that_confident_predictions_speak_against_is_mended():
    """Of 2 x 100 pixels three are wrong; one, of which nobody is sure, is left as it is."""
    truth_NHW = np.zeros((2, 10, 10), np.uint8)
    truth_NHW[:, 3:8, 3:8] = 1
    given_NHW = truth_NHW.copy()
    for place in ((0, 0, 0), (0, 5, 5), (1, 4, 6)):
        given_NHW[place] = 1 - given_NHW[place]
    likely_NCHW = np.where(np.stack([truth_NHW == 0, truth_NHW == 1], axis=1), 0.95, 0.05)
    assert (relabelled(given_NHW, likely_NCHW) == truth_NHW).all()
    likely_NCHW[1, :, 4, 6] = 0.5
    assert (np.argwhere(relabelled(given_NHW, likely_NCHW) != truth_NHW) == [1, 4, 6]).all()


class Oracle:
    """Predicts the reference labels, and remembers what it was asked."""

    def __init__(self, data):
        self.data, self.asked = data, []

    def __call__(self, fold, train_rows, rows):
        self.asked.append((fold, set(self.data.case[train_rows]), set(self.data.case[rows])))
        truth_NHW = self.data.read_labels(rows)
        return np.where(np.stack([truth_NHW == 0, truth_NHW == 1], axis=1), 0.9, 0.1)


def test_labels_are_mended_once_by_predictions_of_other_cases(files, tmp_path):
    with Dataset(files["dataset"]) as data, LabelFile(files["labels"]) as labels:
        oracle = Oracle(data)
        mended, record = mend(data, labels, data.rows("train"), 2, 7, tmp_path, IDENTITY, oracle)
        assert [fold for fold, _, _ in oracle.asked] == [0, 1]
        assert not any(learned & held for _, learned, held in oracle.asked)
        rows, others = data.rows("train"), data.rows("validation")
        reference, given = data.read_labels(rows), labels.read(rows, 0)
        dices = record["label_dice"]["disc"]
        both = (given & reference).sum()
        assert dices["given"] == pytest.approx(2 * both / (given.sum() + reference.sum()))
        assert dices["given"] < 0.9 and dices["mended"] > dices["given"] + 0.05
        changed = mended.read(rows, 0) != given
        assert record["changed"] == pytest.approx(changed.mean())
        assert (mended.read(rows, 0)[changed] == reference[changed]).all()
        assert (mended.read(others, 0) == labels.read(others, 0)).all()
        again, known = mend(data, labels, data.rows("train"), 2, 7, tmp_path, IDENTITY, oracle)
        assert known == record and len(oracle.asked) == 2
        assert (again.read(rows, 0) == mended.read(rows, 0)).all()
        mend(data, labels, data.rows("train"), 2, 7, tmp_path, {"recipe": "y"}, oracle)
        assert len(oracle.asked) == 4


def test_labels_that_are_drawn_more_than_once_are_refused(files, tmp_path):
    path = write_error(tmp_path / "labels.h5", files["dataset"], draws=3)
    with (
        Dataset(files["dataset"]) as data,
        LabelFile(path) as labels,
        pytest.raises(InputError, match=r"holds 3 draws, .* set draws: 1"),
    ):
        mend(data, labels, data.rows("train"), 2, 7, tmp_path, IDENTITY, Oracle(data))


MENDED = {"relabelling": {"folds": 2}, "epochs": 2, "monitor": "epoch", "keep": 1}


@pytest.fixture(scope="module")
def twin(files, tmp_path_factory):
    return train(tmp_path_factory.mktemp("twin") / "rep0", files, MENDED)


def test_a_run_says_what_was_mended(twin, files):
    record = json.loads(twin.record.read_text())
    assert record["definitions"]["recipe"]["relabelling"] == {"folds": 2}
    assert set(record["relabelled"]) == {"changed", "label_dice"}
    assert not twin.state.exists()
    assert [entry["epoch"] for entry in record["checkpoints"]] == [2]


def test_what_is_mended_changes_the_training(twin, files, tmp_path):
    plain = train(tmp_path / "rep0", files, MENDED | {"relabelling": None})
    first, other = (pd.read_csv(folder.history) for folder in (twin, plain))
    assert not first["train_loss"].equals(other["train_loss"])
    assert "relabelled" not in json.loads(plain.record.read_text())


def test_a_training_that_was_stopped_anywhere_ends_as_one_that_was_not(
    twin, files, tmp_path, monkeypatch
):
    """In the first fold, at the end of the second, and in the training itself."""
    folder = RunFolder(tmp_path / "rep0")
    for epochs in (1, 3, 1):
        answers = iter([*[False] * (epochs - 1), True])
        monkeypatch.setattr(state, "is_abandoned", lambda answers=answers: next(answers))
        with pytest.raises(SystemExit):
            train(folder.path, files, MENDED)
    assert (folder.state / "relabelled.h5").exists() and not [*folder.state.glob("fold*")]
    monkeypatch.setattr(state, "is_abandoned", lambda: False)
    train(folder.path, files, MENDED)
    assert folder.history.read_bytes() == twin.history.read_bytes()
    told = [json.loads(each.record.read_text())["relabelled"] for each in (folder, twin)]
    assert told[0] == told[1]
