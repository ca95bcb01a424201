"""The example of docs/trainers.md trains as any command does; skipped where MONAI is absent."""

import sys
from pathlib import Path

import numpy as np
import pytest

from labelnoise.evaluation.score import score_run
from labelnoise.files import read_json
from labelnoise.study import Model, Recipe, Run, RunFolder, Task
from labelnoise.training.run import train_run
from labelnoise.training.trainers.predictions import Predictions
from tiny import CPU, write_files

EXAMPLE = Path(__file__).parents[2] / "examples" / "monai_trainer.py"


def test_monai_learns_discs_and_twice_the_same(tmp_path):
    pytest.importorskip("monai")
    files = write_files(tmp_path)
    command = (
        f"{sys.executable} {EXAMPLE} {{dataset}} {{output}} --device {{device}} --seed {{seed}}"
    )
    model = Model("", {"command": f"{command} --epochs 12"}, "command")
    runs = []
    for repeat in ("a", "b"):
        task = Task(
            Run("discs", "monai", "own", "choppy-x", 0), model, Recipe("trainer"), 1, **files
        )
        folder = RunFolder(tmp_path / repeat / "rep0")
        train_run(task, folder, CPU)
        runs.append(folder)
    assert read_json(runs[0].record)["checkpoints"][0]["metrics"]["validation_dice"] > 0.7
    first, second = (Predictions(folder.predictions) for folder in runs)
    np.testing.assert_array_equal(first.read(first.rows), second.read(second.rows))
    score_run(files["dataset"], files["labels"], runs[0], CPU, {"*": 2})
    assert runs[0].scores.exists()
