"""What runs nnU-Net: the one module that imports it, in a process of its own.

    python -m labelnoise.training.trainers.nnunet_worker SETTINGS EPOCHS OUTPUT

SETTINGS is the JSON file that `nnunet.train_by_nnunet` writes, EPOCHS the one that tells it how far
the training has come, OUTPUT the folder of the predictions.
"""

import json
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nnunetv2
import numpy as np
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprint_dataset,
    preprocess_dataset,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

from labelnoise.files import write_json
from labelnoise.seeds import derive
from labelnoise.training.trainers.nnunet import WORKERS
from labelnoise.training.trainers.raw_dataset import ENDING, NAME

NUMBER = 1  # of the dataset, as in NAME


def main() -> None:
    settings_file, told, output = map(Path, sys.argv[1:])
    settings = json.loads(settings_file.read_text(encoding="utf-8"))
    # As many as the job has cores; nnU-Net's own default is 8.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.use_deterministic_algorithms(True, warn_only=True)
    preprocessed = Path(settings["preprocessed"]) / NAME
    ready = preprocessed / "ready"
    if not ready.exists():
        prepare(settings, preprocessed)
        ready.touch()
    plans = json.loads((preprocessed / "nnUNetPlans.json").read_text(encoding="utf-8"))
    folds = ["all"] if settings["folds"] == "all" else sorted(settings["folds"])
    plan = plans["configurations"][settings["configuration"]]
    report = Report(told, {key: plan.get(key) for key in ("patch_size", "batch_size", "spacing")})
    report.facts["features"] = plan["architecture"]["arch_kwargs"].get("features_per_stage")
    trainers = [train(settings, plans, preprocessed, fold, report) for fold in folds]
    predict(settings, trainers, output)
    report.write()


class Report:
    """The epochs so far, written to a file after each."""

    def __init__(self, path: Path, facts: dict[str, Any]):
        self.path, self.facts = path, facts
        self.epochs: dict[Any, list[dict[str, Any]]] = {}
        self.parameters: int | None = None

    def write(self) -> None:
        rows = [row for of_fold in self.epochs.values() for row in of_fold]
        write_json(self.path, {"epochs": rows, "parameters": self.parameters, "plan": self.facts})


def prepare(settings: dict[str, Any], preprocessed: Path) -> None:
    """Let nnU-Net look at the data, plan as the settings say, and preprocess."""
    extract_fingerprint_dataset(NUMBER, num_processes=1, show_progress_bar=False)
    planner_class = find("experiment_planning", settings["planner"])
    planner = planner_class(NUMBER, plans_name="nnUNetPlans")
    if settings["features"] is not None:
        planner.UNet_base_num_features = settings["features"]
    if settings["most_features"] is not None:
        planner.UNet_max_features_2d = planner.UNet_max_features_3d = settings["most_features"]
    with changed_environment(WORKERS, "1"):
        # The planner takes them for threads, of which there is no number 0.
        planner.plan_experiment()
    path = preprocessed / "nnUNetPlans.json"
    plans = json.loads(path.read_text(encoding="utf-8"))
    configuration = settings["configuration"]
    if configuration not in plans["configurations"]:
        known = ", ".join(plans["configurations"])
        sys.exit(f"nnU-Net has planned no {configuration} for these data; it has: {known}.")
    plans["configurations"][configuration] |= settings["plans"]
    write_json(path, plans)
    if settings["splits"]:
        write_json(preprocessed / "splits_final.json", settings["splits"])
    preprocess_dataset(NUMBER, "nnUNetPlans", (configuration,), [1])


@contextmanager
def changed_environment(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def find(room: str, name: str) -> type:
    """Return a class of nnU-Net by its name."""
    where = f"nnunetv2.{room.replace('/', '.')}"
    found = recursive_find_python_class(str(Path(nnunetv2.__path__[0], room)), name, where)
    if found is None:
        sys.exit(f"nnU-Net has no class {name} in {where}.")
    return found


def seed_all(*path: Any) -> None:
    """Seed every generator that nnU-Net draws from."""
    seed = derive(*path)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class SeededBatches:
    """Batches of one process, each from a seed of its own: fold, epoch and place in the epoch.

    So a batch holds the same slices whatever the labels are, and a training that is gone on with
    sees those that it would have seen.
    """

    def __init__(self, batches: Iterator[Any], trainer: Any, stream: str):
        self.batches, self.trainer, self.stream = batches, trainer, stream
        self.place = (-1, 0)

    def __next__(self) -> Any:
        epoch = self.trainer.current_epoch
        count = self.place[1] + 1 if self.place[0] == epoch else 0
        self.place = (epoch, count)
        seed_all(self.trainer.seed, self.trainer.fold, self.stream, epoch, count)
        return next(self.batches)


def seeded(base: type) -> type:
    """Return a trainer class of nnU-Net that is seeded, may be killed, and tells of its epochs."""

    class Seeded(base):  # type: ignore[misc, valid-type]
        seed: int
        report: Report
        is_seeded: bool

        def get_dataloaders(self):
            train, validation = super().get_dataloaders()
            # Processes that augment have seeds of their own.
            if not self.is_seeded:
                return train, validation
            return (
                SeededBatches(train, self, "train"),
                SeededBatches(validation, self, "validation"),
            )

        def save_checkpoint(self, filename):
            # A kill shall leave the one before.
            part = f"{filename}.part"
            super().save_checkpoint(part)
            os.replace(part, filename)

        def on_epoch_end(self):
            super().on_epoch_end()
            tell(self)

    Seeded.__name__ = base.__name__
    return Seeded


def tell(trainer: Any) -> None:
    """Report all epochs of a fold so far."""
    log = trainer.logger.local_logger.my_fantastic_logging
    ends = zip(log["epoch_start_timestamps"], log["epoch_end_timestamps"], strict=False)
    trainer.report.epochs[trainer.fold] = [
        {
            "fold": trainer.fold,
            "learning_rate": float(log["lrs"][epoch]),
            "train_loss": float(log["train_losses"][epoch]),
            "own_validation_loss": float(log["val_losses"][epoch]),
            "pseudo_dice": float(log["mean_fg_dice"][epoch]),
            "seconds": round(end - start, 3),
        }
        for epoch, (start, end) in enumerate(ends)
    ]
    trainer.report.parameters = sum(each.numel() for each in trainer.network.parameters())
    trainer.report.write()


def train(
    settings: dict[str, Any], plans: dict[str, Any], preprocessed: Path, fold: Any, report: Report
) -> Any:
    """Train a fold, from its last whole epoch if there is one; return its trainer."""
    base = find("training/nnUNetTrainer", settings["trainer_class"])
    if not issubclass(base, nnUNetTrainer):
        sys.exit(f"{settings['trainer_class']} is no trainer class of nnU-Net.")
    dataset = json.loads((preprocessed / "dataset.json").read_text(encoding="utf-8"))
    trainer = seeded(base)(
        plans={**plans, "continue_training": True},
        configuration=settings["configuration"],
        fold=fold,
        dataset_json=dataset,
        device=torch.device(settings["device"]),
    )
    trainer.seed, trainer.report, trainer.is_seeded = settings["seed"], report, settings["seeded"]
    trainer.num_epochs = settings["epochs"]
    trainer.num_iterations_per_epoch = settings["iterations"]
    trainer.num_val_iterations_per_epoch = settings["validation_iterations"]
    trainer.save_every = 1
    # A picture after each epoch takes as long as a short epoch.
    trainer.logger.plot_progress_png = lambda folder: None
    seed_all(settings["seed"], fold, "weights")
    trainer.initialize()
    output = Path(trainer.output_folder)
    final, latest = (output / f"checkpoint_{name}.pth" for name in ("final", "latest"))
    for checkpoint in filter(Path.exists, (final, latest)):
        trainer.load_checkpoint(str(checkpoint))
        print(f"fold {fold}: going on after epoch {trainer.current_epoch}", flush=True)
        tell(trainer)
        break
    if not final.exists():
        trainer.run_training()
    return trainer


def predict(settings: dict[str, Any], trainers: list[Any], output: Path) -> None:
    """Predict all images without labels, by the mean over folds; files appear whole."""
    first = trainers[0]
    predictor = nnUNetPredictor(
        use_mirroring=settings["mirroring"], device=first.device, allow_tqdm=False
    )
    network = getattr(first.network, "_orig_mod", first.network)
    first.set_deep_supervision_enabled(False)
    weights = [
        {
            name: tensor.detach().clone()
            for name, tensor in getattr(trainer.network, "_orig_mod", trainer.network)
            .state_dict()
            .items()
        }
        for trainer in trainers
    ]
    predictor.manual_initialization(
        network.eval(),
        first.plans_manager,
        first.configuration_manager,
        weights,
        first.dataset_json,
        type(first).__name__,
        first.inference_allowed_mirroring_axes,
    )
    folder = Path(settings["raw"]) / "imagesTs"
    names = sorted({path.name.removesuffix(ENDING)[:-5] for path in folder.iterdir()})
    channels = range(len(first.dataset_json["channel_names"]))
    reader = first.plans_manager.image_reader_writer_class()
    for name in names:
        target = output / f"{name}.npz"
        if target.exists():
            continue
        files = [str(folder / f"{name}_{channel:04d}{ENDING}") for channel in channels]
        image, properties = reader.read_images(files)
        _, probabilities = predictor.predict_single_npy_array(
            image, properties, save_or_return_probabilities=True
        )
        part = output / f".{name}.part"
        with open(part, "wb") as file:
            np.savez_compressed(file, probabilities=probabilities.astype(np.float32))
        os.replace(part, target)


if __name__ == "__main__":
    main()
