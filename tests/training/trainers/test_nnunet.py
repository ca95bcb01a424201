"""nnU-Net's folds and what it refuses; its trainings only where it is installed (`make nnunet`)."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from labelnoise.config import complete
from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.errors import InputError
from labelnoise.files import read_json
from labelnoise.study import Model, Recipe, Run, RunFolder, Task
from labelnoise.training.run import train_run
from labelnoise.training.trainers.nnunet import check_data, make_splits, training_names
from labelnoise.training.trainers.predictions import Predictions
from labelnoise.training.trainers.raw_dataset import write_raw_dataset
from settings import CONFIG
from tiny import CPU, write_files

SMALL = {"epochs": 3, "iterations": 2, "validation_iterations": 1, "features": 2}


def settings(**changes):
    own = {"models": {"x": {"trainer": "nnunet", **changes}}, "recipes": {"x": {"loss": "trainer"}}}
    return complete(CONFIG | own)["models"]["x"]


def test_folds_are_cut_by_case_and_from_the_seed():
    names = [f"case{case:04d}_s{number:03d}" for case in range(7) for number in range(2)]
    splits = make_splits(names, 1)
    held = [split["val"] for split in splits]
    assert sorted(name for part in held for name in part) == names and all(held)
    for split in splits:
        assert sorted(split["train"] + split["val"]) == names
        cases = [{name[:8] for name in split[part]} for part in ("train", "val")]
        assert not cases[0] & cases[1]
    assert make_splits(names, 1) == splits != make_splits(names, 2)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("data"))


def test_data_that_do_not_suit_the_settings_are_named(files, tmp_path):
    write_raw_dataset(tmp_path / "raw", Dataset(files["dataset"]), LabelFile(files["labels"]))
    assert len(training_names(tmp_path / "raw")) == 10
    check_data(tmp_path / "raw", settings(folds=[0, 4]), "x")
    with pytest.raises(
        InputError, match=r"'models.x.configuration' is 3d_fullres, but case0000_s0"
    ):
        check_data(tmp_path / "raw", settings(configuration="3d_fullres"), "x")
    for path in (tmp_path / "raw/labelsTr").glob("case0000*"):
        path.unlink()
    with pytest.raises(InputError, match=r"'models.x.folds' asks for some of 5 folds, but .* 4"):
        check_data(tmp_path / "raw", settings(folds=[0, 4]), "x")


def make_task(files, **changes):
    run = Run("discs", "x", "own", "choppy-x", 0)
    return Task(run, Model.of(settings(**SMALL, **changes)), Recipe("trainer"), 1, **files)


def test_nnunet_trains_and_goes_on_after_a_kill_as_if_there_had_been_none(files, tmp_path):
    pytest.importorskip("nnunetv2")
    whole, killed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    train_run(make_task(files), whole, CPU)
    record = read_json(whole.record)
    assert record["trainer"]["plan"]["features"][:2] == [2, 4]
    history = pd.read_csv(whole.history)
    assert history["epoch"].tolist() == [1, 2, 3] and history["train_loss"].notna().all()
    program = (
        "import sys\nfrom pathlib import Path\nimport test_nnunet as t\n"
        "files = dict(zip(('dataset', 'labels'), map(Path, sys.argv[2:])))\n"
        "t.train_run(t.make_task(files), t.RunFolder(Path(sys.argv[1])), t.CPU)\n"
    )
    folders = [
        Path(__file__).parent,
        Path(__file__).parents[2],
        Path(__file__).parents[3] / "scripts",
    ]
    training = subprocess.Popen(
        [sys.executable, "-c", program, killed.path, files["dataset"], files["labels"]],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))},
    )
    told = killed.trainer / "epochs.json"
    while training.poll() is None and not told.exists():
        time.sleep(0.01)
    training.send_signal(signal.SIGKILL)
    training.wait()
    assert not killed.record.exists()
    train_run(make_task(files), killed, CPU)
    assert len(read_json(killed.record)["interruptions"]) == 1
    first, second = (Predictions(folder.predictions) for folder in (whole, killed))
    np.testing.assert_array_equal(first.read(first.rows), second.read(second.rows))
    columns = ["train_loss", "own_validation_loss", "pseudo_dice", "learning_rate"]
    pd.testing.assert_frame_equal(history[columns], pd.read_csv(killed.history)[columns])
