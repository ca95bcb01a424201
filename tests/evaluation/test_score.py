"""The counts and scores of a test are those of the network, and one line says what it came to."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from labelnoise.data.storage import Dataset
from labelnoise.evaluation.histograms import read_scores
from labelnoise.evaluation.score import describe_score, score_run
from labelnoise.networks.output import count_pixels
from labelnoise.study import RunFolder
from labelnoise.training.checkpoints import load_run
from tiny import CPU, train, write_files


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    folder = train(tmp_path_factory.mktemp("run") / "rep0", files, {"epochs": 12})
    score_run(files["dataset"], folder, CPU)
    return folder


def test_the_counts_are_those_of_the_reloaded_network(run, files):
    data = Dataset(files["dataset"])
    rows = data.rows("test")
    images_NHW, labels_NHW = data.read(rows)
    # The tiny dataset's window is 0 to 100.
    probabilities = load_run(run.path).predict((images_NHW + 1) * 50)
    predicted = torch.from_numpy(probabilities > 0.5)
    expected = count_pixels(predicted, torch.from_numpy(labels_NHW))[:, 1]
    table = pd.read_csv(run.counts)
    record = json.loads(run.record.read_text())
    chosen = table[table["rank"] == record["chosen_rank"]]
    assert chosen["case"].tolist() == data.case[rows].tolist()
    np.testing.assert_array_equal(chosen[["tp", "fp", "fn", "tn"]], expected)
    assert (chosen[["tp", "fp", "fn", "tn"]].sum(axis=1) == 24 * 24).all()


def test_the_scores_are_those_of_the_reloaded_network(run, files):
    data = Dataset(files["dataset"])
    images_NHW, labels_NHW = data.read(data.rows("test"))
    rank = json.loads(run.record.read_text())["chosen_rank"]
    found = read_scores(run.scores)
    assert list(found) == [1, 2]
    probabilities = load_run(run.path).predict_scaled(images_NHW.astype(np.float32))[:, 1]
    expected = roc_auc_score(labels_NHW.ravel() == 1, probabilities.ravel())
    assert found[rank]["disc"].auc() == pytest.approx(expected, abs=1e-3)
    assert found[rank]["disc"].positives == (labels_NHW == 1).sum()


def test_the_line_of_a_test_is_of_the_chosen_checkpoint_and_pooled(tmp_path):
    names = {"dataset": "lis", "model": "unet", "recipe": "plain", "perturbation": "control"}
    record = {**names, "repeat": 0, "chosen_rank": 2}
    (tmp_path / "run.json").write_text(json.dumps(record))
    rows = [(1, "liver", 9, 0, 0, 0), (2, "liver", 90, 10, 10, 0), (2, "liver", 1, 2, 0, 0)]
    rows += [(2, "tumour", 0, 0, 0, 9)]
    counted = pd.DataFrame(rows, columns=["rank", "structure", "tp", "fp", "fn", "tn"])
    # 2 x 91 / (182 + 22)
    expected = "tested lis/unet/plain/control/rep0: test Dice liver 0.8922, tumour nan"
    assert describe_score(counted, RunFolder(tmp_path)) == expected
