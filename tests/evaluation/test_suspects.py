"""What is said of a run's slices is what its network and its labels say."""

import numpy as np
import pandas as pd
import pytest

from labelnoise.counts import overlap
from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.evaluation import detectors
from labelnoise.evaluation.suspects import rank_suspects
from labelnoise.labels.perturbations import draw_labels
from labelnoise.seeds import cases_seed
from labelnoise.study import RunFolder
from labelnoise.training.checkpoints import load_run
from labelnoise.training.run import training_rows
from labelnoise.training.trainers.predictions import write_predictions
from tiny import CPU, make_study, train, write_files

SEED = make_study().seed


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("data"), severity=2.0)


@pytest.fixture(scope="module")
def folder(files, tmp_path_factory):
    folder = train(tmp_path_factory.mktemp("run") / "rep0", files)
    rank_suspects(files["dataset"], files["labels"], folder, CPU, [], SEED)
    return folder


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_slice_is_compared_with_the_network_and_the_reference(files, folder, split):
    table = pd.read_csv(folder.suspects)
    table = table[table["split"] == split].reset_index(drop=True)
    data, error = Dataset(files["dataset"]), LabelFile(files["labels"])
    rows = data.rows(split)
    images_NKHW, reference_NHW = data.read(rows)
    drawn = (error.kind, error.severities, error.foreground_fractions, error.seed, 0, rows)
    labels_NHW = draw_labels(reference_NHW, *drawn)
    assert table["case"].tolist() == data.case[rows].tolist()
    assert table["slice"].tolist() == data.slice[rows].tolist()
    counts_N3 = [overlap(*pair)[:3] for pair in zip(reference_NHW, labels_NHW, strict=True)]
    np.testing.assert_array_equal(table[["tp", "fp", "fn"]], counts_N3)
    assert table["fp"].sum() > 0
    probabilities_NCHW = load_run(folder.path).predict_scaled(images_NKHW)
    for name in ("loss", "disagreement", "entropy"):
        expected = detectors.BY_SLICE[name](labels_NHW, probabilities_NCHW)
        np.testing.assert_allclose(table[name], expected, rtol=1e-5)
    np.testing.assert_allclose(table["area"], detectors.area(labels_NHW, 2))


def test_only_the_detectors_that_are_asked_for_are_there(files, folder, tmp_path):
    before = folder.suspects.read_bytes()
    rank_suspects(files["dataset"], files["labels"], folder, CPU, ["area", "loss"], SEED)
    assert list(pd.read_csv(folder.suspects))[6:] == ["area", "loss"]
    rank_suspects(files["dataset"], files["labels"], folder, CPU, detectors.USUAL, SEED)
    assert folder.suspects.read_bytes() == before


def test_training_cases_that_the_recipe_leaves_out_are_left_out(files, tmp_path):
    folder = train(tmp_path / "rep0", files, {"training_cases": 2, "epochs": 1, "keep": 1})
    rank_suspects(files["dataset"], files["labels"], folder, CPU, ["loss"], SEED)
    table = pd.read_csv(folder.suspects)
    data = Dataset(files["dataset"])
    rows = training_rows(data, 2, cases_seed(SEED, data.name, 0))
    assert table["case"][table["split"] == "train"].tolist() == data.case[rows].tolist()
    assert (table["split"] == "test").sum() == len(data.rows("test"))


def test_of_a_trainer_the_slices_that_it_predicted_are_reviewed(files, tmp_path):
    folder, data = RunFolder(tmp_path / "rep0"), Dataset(files["dataset"])
    rows = data.rows("test")
    foreground_NHW = np.random.default_rng(0).uniform(0.01, 0.99, (len(rows), *data.shape))
    probabilities_NCHW = np.stack([1 - foreground_NHW, foreground_NHW], axis=1)
    folder.checkpoints.mkdir(parents=True)
    write_predictions(folder.predictions, rows, probabilities_NCHW, data, {})
    rank_suspects(files["dataset"], files["labels"], folder, CPU, ["loss", "area"], SEED)
    table = pd.read_csv(folder.suspects)
    assert table["case"].tolist() == data.case[rows].tolist() and set(table["split"]) == {"test"}
    error = LabelFile(files["labels"])
    drawn = (error.kind, error.severities, error.foreground_fractions, error.seed, 0, rows)
    labels_NHW = draw_labels(data.read_labels(rows), *drawn)
    expected = detectors.loss(labels_NHW, probabilities_NCHW)
    np.testing.assert_allclose(table["loss"], expected, rtol=1e-2)
