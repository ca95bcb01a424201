"""Estimate the disk space and hours that the paper's study needs, from measurements made here.

Measured: MB per slice of a dataset file and of a label file of each kind, on phantoms of 512 px,
and TFLOP per training step of each network (forward and backward, counted by torch). Assumptions,
set by options: how many slices hold the organ, and the arithmetic that a GPU sustains on these
small networks.

    .venv/bin/python benchmarks/footprint.py --slices 19000 7000 --tflops 5
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import torch  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from labelnoise.data.prepare import prepare_dataset  # noqa: E402
from labelnoise.labels.dataset import calibrate_dataset, perturb_dataset  # noqa: E402
from labelnoise.networks import make_network  # noqa: E402
from labelnoise.study import read_study  # noqa: E402

SIZE, CASES, SLICES = 512, 6, 4
STEP = 20  # slices per step in the paper


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--slices", type=int, nargs="+", default=[19000, 7000], help="one number per dataset"
    )
    parser.add_argument("--tflops", type=float, default=5, help="sustained TFLOP per second")
    arguments = parser.parse_args()
    study = read_study(ROOT / "config.yaml", ROOT / "studies" / "labels18.yaml")
    with tempfile.TemporaryDirectory() as folder:
        per_slice = measure_files(Path(folder), study)
    steps = {
        name: count_step(make_network(study.models[name].as_dict()))
        for name in study.matrix["model"]
    }
    for name, tflop in steps.items():
        print(f"{name}: {tflop:.2f} TFLOP per step of {STEP} slices")
    for slices in arguments.slices:
        derive(slices, per_slice, steps, study, arguments.tflops)


def derive(slices, per_slice, steps, study, tflops):
    """Print the disk space and hours that a dataset of this many slices needs."""
    recipe, repeats = study.recipes["labels18"], study.repeats
    perturbations = study.matrix["perturbation"]
    labelled = 0.8 * slices
    labels = sum(per_slice[name.partition("-")[0]] for name in perturbations) * labelled * repeats
    runs = len(perturbations) * repeats
    trained = recipe.epochs * recipe.steps_per_epoch
    # Validation is a forward pass, a third of a step's arithmetic, over a fifth of the slices.
    validated = recipe.epochs * 0.2 * slices / STEP / 3
    hours = {name: (trained + validated) * tflop / tflops / 3600 for name, tflop in steps.items()}
    each = ", ".join(f"{name} {60 * hour:.0f} min" for name, hour in hours.items())
    print(
        f"{slices} slices: dataset {per_slice['dataset'] * slices / 1e3:.1f} GB, labels "
        f"{labels / 1e3:.1f} GB, {runs * len(steps)} runs, {each} per run, together "
        f"{runs * sum(hours.values()):.0f} GPU-hours at {tflops:g} TFLOP/s"
    )


def measure_files(folder, study):
    """Print and return MB per slice of a dataset file and of a label file of each kind."""
    settings = {**study.datasets["phantom"], "cases": CASES, "slices": SLICES, "size": SIZE}
    per_slice = {}
    dataset = folder / "phantom.h5"
    prepare_dataset("phantom", settings, seed=1, path=dataset)
    slices = CASES * SLICES
    per_slice["dataset"] = dataset.stat().st_size / slices / 1e6
    for name in ("control", "natural-0.85", "choppy-0.85", "random-0.85"):
        error = replace(study.perturbations[name], draws=1)
        calibration, labels = folder / f"{name}.json", folder / f"{name}.h5"
        calibrate_dataset(dataset, name, error, 1, calibration)
        perturb_dataset(dataset, calibration, error, 0, 1, labels, folder / "measured.json")
        # Train and validation slices have labels, four fifths of all.
        per_slice[name.partition("-")[0]] = labels.stat().st_size / (slices * 0.8) / 1e6
    for name, size in per_slice.items():
        print(f"{name}: {size:.4f} MB per slice")
    return per_slice


def count_step(network):
    """Return the TFLOP of one forward and backward pass over a step of the paper."""
    images_N1HW = torch.zeros(1, 1, SIZE, SIZE)
    network.eval()
    with FlopCounterMode(display=False) as counter:
        network(images_N1HW).sum().backward()
    return counter.get_total_flops() * STEP / 1e12


if __name__ == "__main__":
    main()
