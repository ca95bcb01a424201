"""Time augmentation on one core: batches of slices with it and without it, and training steps.

    python benchmarks/augmentation.py

Prints slices per second for slices of 128 and 512 pixels: batches as they are, augmented ones, each
change made of every slice, and steps of the project's U-Net on the same batches. All in one process
on one core, in turns, so that the ratios hold on a busy machine.
"""

import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

from labelnoise.networks import make_network  # noqa: E402
from labelnoise.training.augmentation import CHANGES, Augmentation  # noqa: E402
from tiny import make_recipe  # noqa: E402

SIZES = (128, 512)
BATCH, REPEATS = 8, 5


def slices(size):
    """Return images and labels of a batch: smooth fields and what is bright in them."""
    torch.manual_seed(0)
    coarse = torch.rand(BATCH, 1, 8, 8) * 2 - 1
    images = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(-1, 1)
    return images, (images[:, 0] > 0.3).long()


def train(network, batch):
    network.zero_grad()
    images, labels = batch
    torch.nn.functional.cross_entropy(network(images), labels).backward()


def main():
    torch.set_num_threads(1)
    all_of_them = {name: {} for name in CHANGES}
    usual = make_recipe(augmentation=all_of_them).augmentation
    always = {name: {**usual[name], "probability": 1} for name in CHANGES}
    for size in SIZES:
        batch = slices(size)
        network = make_network({"network": "unet", "width": 6, "depth": 5})
        network = network.to(memory_format=torch.channels_last)
        kinds = {
            "as they are": lambda sample, batch=batch: [part.clone() for part in batch],
            "training step": lambda sample, batch=batch, network=network: train(network, batch),
            "all, usual probabilities": augmenting(usual, batch),
            "all, each slice": augmenting(always, batch),
            **{name: augmenting({name: always[name]}, batch) for name in CHANGES},
        }
        times = {name: [] for name in kinds}
        for repeat in range(REPEATS):
            for name, function in kinds.items():
                start = perf_counter()
                function(repeat * BATCH)
                times[name].append(perf_counter() - start)
        step = median(times["training step"])
        print(f"{size} px{'':20} slices/s  share of a training step")
        for name, found in times.items():
            print(f"  {name:24} {BATCH / median(found):8.0f} {median(found) / step:8.2f}")


def augmenting(settings, batch):
    augmentation = Augmentation(settings, 0)
    return lambda first: augmentation.augment(*batch, range(first, first + BATCH))


if __name__ == "__main__":
    main()
