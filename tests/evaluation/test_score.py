"""The counts and scores of a test are those of the network, and one line says what it came to."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from labelnoise.counts import overlap
from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.errors import InputError
from labelnoise.evaluation.histograms import BINS, counts_above, read_scores
from labelnoise.evaluation.score import describe_score, loss_threshold, score_run
from labelnoise.files import read_json, write_record
from labelnoise.labels.perturbations import draw_labels
from labelnoise.networks.output import count_pixels
from labelnoise.study import Recipe, RunFolder
from labelnoise.training.checkpoints import load_run
from tiny import CPU, train, write_files


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    folder = train(tmp_path_factory.mktemp("run") / "rep0", files, {"epochs": 12})
    score_run(files["dataset"], files["labels"], folder, CPU, {"*": 2})
    return folder


def test_the_counts_are_those_of_the_reloaded_network(run, files):
    data = Dataset(files["dataset"])
    rows = data.rows("test")
    images_NKHW, labels_NHW = data.read(rows)
    # The tiny dataset's window is 0 to 100.
    probabilities = load_run(run.path).predict((images_NKHW + 1) * 50)
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
    images_NKHW, labels_NHW = data.read(data.rows("test"))
    rank = json.loads(run.record.read_text())["chosen_rank"]
    found = read_scores(run.scores)
    assert found.rank == rank and found.cases == ["case7", "case8"]
    probabilities = load_run(run.path).predict_scaled(images_NKHW.astype(np.float32))[:, 1]
    expected = roc_auc_score(labels_NHW.ravel() == 1, probabilities.ravel())
    assert found.histogram("disc").auc() == pytest.approx(expected, abs=1e-3)
    positives_C = found.test_SC2B[0, :, 1].sum(axis=-1)
    assert positives_C.tolist() == (labels_NHW == 1).reshape(2, -1).sum(axis=1).tolist()


def test_wrong_labels_of_test_and_validation_are_those_of_the_runs_own_error(run, files):
    """Against labels drawn by hand, whose validation rows the label file holds too."""
    data, error = Dataset(files["dataset"]), LabelFile(files["labels"])
    found = read_scores(run.scores)
    for split in ("test", "validation"):
        rows = data.rows(split)
        images_NKHW, labels_NHW = data.read(rows)
        drawn = (error.kind, error.severities, error.foreground_fractions, error.seed, 0, rows)
        wrong_NHW = draw_labels(labels_NHW, *drawn)
        probabilities = load_run(run.path).predict_scaled(images_NKHW.astype(np.float32))[:, 1]
        counts_4 = overlap(wrong_NHW == 1, probabilities > 0.5)
        if split == "test":
            np.testing.assert_array_equal(found.apparent_SC4[0].sum(axis=0), counts_4)
            assert (found.apparent_SC4[0] != counts_above(found.test_SC2B[0], BINS // 2)).any()
        else:
            np.testing.assert_array_equal(wrong_NHW, error.read(rows, 0))
            perturbed_2B = found.validation_S2B["perturbed"][0]
            np.testing.assert_array_equal(counts_above(perturbed_2B, BINS // 2), counts_4)
            clean_4 = counts_above(found.validation_S2B["clean"][0], BINS // 2)
            np.testing.assert_array_equal(clean_4, overlap(labels_NHW == 1, probabilities > 0.5))


def test_the_threshold_of_a_loss_takes_back_the_share_of_background_that_it_keeps(run, files):
    data = Dataset(files["dataset"])
    recipe = Recipe(**json.loads(run.record.read_text())["definitions"]["recipe"])
    assert loss_threshold(recipe, data) == 0
    sampled = replace(recipe, loss="class_sampled_cross_entropy", background_share=0.2)
    assert loss_threshold(sampled, data) == pytest.approx(np.log(5))
    fraction = data.foreground_fraction[1]
    own = replace(sampled, background_share=None)
    assert loss_threshold(own, data) == pytest.approx(-np.log(fraction))
    assert np.isnan(loss_threshold(replace(recipe, loss="dice"), data))


def test_a_checkpoint_that_is_gone_is_named(files, tmp_path):
    folder = train(tmp_path / "rep0", files)
    record = read_json(folder.record)
    write_record(folder.record, record | {"chosen_rank": 7})
    with pytest.raises(
        InputError, match=r"run\.json chose checkpoint 7, which .*checkpoints lacks"
    ):
        score_run(files["dataset"], files["labels"], folder, CPU, {"*": 2})
    assert not folder.counts.exists() and not folder.scores.exists()


def test_the_line_of_a_test_is_of_the_chosen_checkpoint_and_pooled(tmp_path):
    names = {"dataset": "lis", "model": "unet", "recipe": "plain", "perturbation": "control"}
    record = {**names, "repeat": 0, "chosen_rank": 2}
    write_record(tmp_path / "run.json", record)
    rows = [(1, "liver", 9, 0, 0, 0), (2, "liver", 90, 10, 10, 0), (2, "liver", 1, 2, 0, 0)]
    rows += [(2, "tumour", 0, 0, 0, 9)]
    columns = ["rank", "structure", "tp", "fp", "fn", "tn"]
    counted = [dict(zip(columns, row, strict=True)) for row in rows]
    # 2 x 91 / (182 + 22)
    expected = "tested lis/unet/plain/control/rep0: test Dice liver 0.8922, tumour nan"
    assert describe_score(counted, RunFolder(tmp_path)) == expected
