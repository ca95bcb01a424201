"""One run by a trainer: its files out, its training, its predictions in, and a record.

Shape legend: N slices, C classes, H height, W width.
"""

import logging

import numpy as np

from labelnoise.counts import dice, overlap
from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.files import whole_folder, write_record, write_rows
from labelnoise.jobs.devices import Device
from labelnoise.seeds import training_seed
from labelnoise.study import RunFolder, Task
from labelnoise.training.provenance import provenance, what_was_trained
from labelnoise.training.state import ended_by_sigterm, make_identity
from labelnoise.training.trainers.command import train_by_command
from labelnoise.training.trainers.nnunet import train_by_nnunet
from labelnoise.training.trainers.predictions import read_output, write_predictions
from labelnoise.training.trainers.raw_dataset import asked_parts, write_raw_dataset
from labelnoise.training.trainers.work import Work

log = logging.getLogger(__name__)

TRAINERS = {"command": train_by_command, "nnunet": train_by_nnunet}


def train_by_trainer(
    task: Task, folder: RunFolder, device: Device, keep_state: bool = False
) -> None:
    """Let a trainer train and predict, and write the run's folder, whose lock the caller holds.

    The folder gets checkpoints/predictions.h5, what the trainer predicts for validation and test
    slices; history.csv and timing.csv, of the epochs if the trainer tells of them; and run.json.
    While it trains, .state/trainer/ holds its files: the same call goes on from there.

    Args:
        task: the training.
        folder: the run's.
        device: where to compute; how much of a shared card a trainer takes is not limited.
        keep_state: whether its files are kept.

    Raises:
        InputError: a file cannot be read, the trainer fails, or what it wrote is not what was asked
            for.
    """
    trainer, settings = task.model.trainer, task.model.settings
    assert trainer is not None
    seed = training_seed(task.seed, task.run.model, task.run.repeat)
    with ended_by_sigterm(), Dataset(task.dataset) as data, LabelFile(task.labels) as labels:
        labels.check_of(data)
        digests = {"dataset": data.digest(), "labels": labels.digest()}
        identity = make_identity(task, seed, digests, device.kind)
        work = Work(folder, identity, task.model.epochs(task.recipe))
        if not work.dataset.exists():
            write_raw_dataset(work.dataset, data, labels)
        log.info("training %s by %s in %s", task.run.name, trainer, work.folder)
        outcome = TRAINERS[trainer](work, settings, seed, device.kind, task.run.model)
        parts = asked_parts(data)
        rows_N = np.concatenate([part.rows for part in parts])
        probabilities_NCHW = read_output(work.output, parts, data)
        metrics = {"validation_dice": _validation_dice(data, rows_N, probabilities_NCHW)}
        with whole_folder(folder.checkpoints) as temporary:
            about = {"run": task.run.name, "dataset_sha256": digests["dataset"]}
            path = temporary / folder.predictions.name
            write_predictions(path, rows_N, probabilities_NCHW, data, about)
        epochs = len(outcome.seconds)
        known = outcome.history or [{} for _ in outcome.seconds]
        last = {"validation_dice": float("nan")}
        history = [{"epoch": epoch, **row, **last} for epoch, row in enumerate(known, start=1)]
        history[-1] |= metrics
        write_rows(folder.history, history)
        timing = [
            {"epoch": epoch, "train": round(seconds, 3), "validation": 0.0}
            for epoch, seconds in enumerate(outcome.seconds, start=1)
        ]
        write_rows(folder.timing, timing)
        record = {
            **what_was_trained(task, seed, data, labels, digests, outcome.parameters),
            **device.record(),
            **provenance(work.sittings),
            "trainer": {"name": trainer, **outcome.facts},
            "checkpoints": [{"rank": 1, "epoch": epochs, "metrics": metrics}],
            "chosen_rank": 1,
            "seconds": round(work.seconds, 3),
        }
        write_record(folder.record, record)
        if not keep_state:
            work.remove()


def _validation_dice(data: Dataset, rows_N: np.ndarray, probabilities_NCHW: np.ndarray) -> float:
    """Return the mean over structures of Dice on the clean validation labels, at 0.5."""
    chosen_N = np.isin(rows_N, data.rows("validation"))
    labels_NHW = data.read_labels(rows_N[chosen_N])
    found = [
        float(dice(overlap(labels_NHW == index, probabilities_NCHW[chosen_N, index] > 0.5)))
        for index in range(1, len(data.class_names))
    ]
    return float(np.mean(found))
