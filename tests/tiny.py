"""A study small enough for a test: bright discs on noise, wrong labels for them, one training."""

from pathlib import Path

import numpy as np

from labelnoise.config import complete
from labelnoise.data.storage import Dataset, write_dataset, write_labels
from labelnoise.jobs.devices import Device
from labelnoise.labels.perturbations import draw_labels
from labelnoise.study import AXES, Run, RunFolder, Study, Task
from labelnoise.training.run import Extras, train_run

SIZE = 24
CPU = Device("cpu", "cpu")
MODEL = {"network": "unet", "width": 2, "depth": 2}
RECIPE = {
    "loss": "cross_entropy",
    "learning_rate": 0.01,
    "batch_size": 4,
    "steps_per_epoch": 5,
    "epochs": 3,
    "keep": 2,
}
SPLITS = ["train"] * 5 + ["validation"] * 2 + ["test"] * 2


def write_discs(path, name="discs", slices=2):
    """Write a dataset of 9 cases."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((SIZE, SIZE))
    names = ["background", "disc"]
    with write_dataset(
        path, name=name, class_names=names, window=(0, 100), provenance={}
    ) as writer:
        for case, split in enumerate(SPLITS):
            centres = rng.integers(8, 16, (slices, 2))
            labels = np.stack(
                [(rows - r) ** 2 + (columns - c) ** 2 <= 25 for r, c in centres]
            ).astype(np.uint8)
            images = np.clip(labels - 0.5 + rng.normal(0, 0.2, labels.shape), -1, 1)
            writer.append(f"case{case}", split, range(slices), images, labels)
    return path


def write_error(path, dataset, kind="choppy", severity=1.0, draws=1, seed=7, code=None):
    """Write perturbed labels of a dataset; code: the digest of a kind that is not ours."""
    with Dataset(dataset) as data:
        rows = np.concatenate([data.rows("train"), data.rows("validation")])
        fractions = {1: data.foreground_fraction[1]}
        stored = 1 if draws == "per_epoch" else draws
        with write_labels(
            path,
            rows=rows,
            shape=data.shape,
            classes=len(data.class_names),
            draws=draws,
            dataset=data.name,
            perturbation=f"{kind}-x",
            kind=kind,
            seed=seed,
            severities={1: severity},
            foreground_fractions=fractions,
            code=code,
        ) as writer:
            for draw in range(stored):
                reference = data.read(rows)[1]
                labels = draw_labels(reference, kind, {1: severity}, fractions, seed, draw, rows)
                writer.write(draw, 0, labels)
    return path


def make_study(recipe=None, model=MODEL):
    """Return a study of one run: RECIPE with changes, all else the schema's defaults."""
    config = {
        "seed": 1,
        "datasets": {"discs": {"source": "phantom"}},
        "models": {model["network"]: model},
        "recipes": {"plain": RECIPE | (recipe or {})},
        "perturbations": {"choppy-x": {"kind": "choppy", "severity": 1.0}},
    }
    matrix = {axis: [*config[section]] for axis, section in AXES.items()}
    config["matrix"] = {**matrix, "repeats": 1}
    return Study.of(complete(config))


def make_recipe(**changes):
    """Return the recipe of `make_study`."""
    return make_study(changes).recipes["plain"]


def make_task(files, recipe=None, model=MODEL, repeat=0):
    """Return the training of `make_study` on the files that `write_files` returned."""
    study = make_study(recipe, model)
    run = Run("discs", model["network"], "plain", "choppy-x", repeat)
    return Task(run, study.models[run.model], study.recipes["plain"], study.seed, **files)


def train(path, files, recipe=None, model=MODEL, repeat=0, **extras):
    """Train on the CPU; return the RunFolder."""
    folder = RunFolder(Path(path))
    train_run(make_task(files, recipe, model, repeat), folder, CPU, Extras(**extras))
    return folder


def write_files(folder, **error):
    """Write a dataset and labels for it; `error` goes to `write_error`."""
    dataset = write_discs(folder / "discs.h5")
    return {"dataset": dataset, "labels": write_error(folder / "labels.h5", dataset, **error)}
