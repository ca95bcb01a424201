"""A trainer for tests, with NumPy and nibabel alone: foreground is what is brighter than the middle
of the mean intensities of both classes in the training labels.

    python command_trainer.py DATASET OUTPUT [--device D] [--seed S] [--fail-first]
"""

import argparse
import json
from pathlib import Path

import nibabel
import numpy as np


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fail-first", action="store_true")
    arguments = parser.parse_args()
    begun = arguments.output / "begun"
    if arguments.fail_first and not begun.exists():
        begun.touch()
        raise SystemExit("no luck the first time")
    about = json.loads((arguments.dataset / "dataset.json").read_text())
    ending = about["file_ending"]
    images, labels = [], []
    for path in sorted((arguments.dataset / "labelsTr").iterdir()):
        name = path.name.removesuffix(ending)
        images.append(read(arguments.dataset / "imagesTr" / f"{name}_0000{ending}").ravel())
        labels.append(read(path).ravel())
    images, labels = np.concatenate(images), np.concatenate(labels)
    middle = (images[labels == 0].mean() + images[labels == 1].mean()) / 2
    print(f"seed {arguments.seed} on {arguments.device}: threshold {middle:.3f}")
    for path in sorted((arguments.dataset / "imagesTs").iterdir()):
        foreground = 1 / (1 + np.exp(-10 * (read(path) - middle)))
        name = path.name.removesuffix(f"_0000{ending}")
        probabilities = np.stack([1 - foreground, foreground])
        np.savez(arguments.output / f"{name}.npz", probabilities=probabilities)


def read(path):
    """Return an image as slices, rows, columns."""
    return np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0).astype(float)


if __name__ == "__main__":
    main()
