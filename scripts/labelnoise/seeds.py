"""One seed tree: every random stream derives from the study's seed and the stream's names."""

import hashlib

import numpy as np


def derive(seed, *names):
    """Derive a stream's seed from the study's seed and a path of names.

    Args:
        seed: the study's seed, an integer of at least 0.
        names: strings or integers, such as "labels", "phantom", "natural-0.90", 3.

    Returns:
        An integer in [0, 2**63), the same on every machine and in every Python.
    """
    # hash() is salted in every process, so a name enters the tree through SHA-256.
    path = "\x1f".join(str(name) for name in names).encode()
    words = np.frombuffer(hashlib.sha256(path).digest(), dtype="<u4").tolist()
    state = np.random.SeedSequence([seed, *words]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def label_seed(seed, dataset, perturbation, repeat):
    """Seed of a label draw: all networks and recipes of a repeat see the same wrong labels."""
    return derive(seed, "labels", dataset, perturbation, repeat)


def training_seed(seed, model, repeat):
    """Seed of initial weights and batch order: equal for every perturbation, so repeats pair up."""
    return derive(seed, "training", model, repeat)


def calibration_seed(seed, dataset, kind):
    """Seed of the draws that calibrate a kind: shared by its sizes, so severity grows with size."""
    return derive(seed, "calibration", dataset, kind)


def split_seed(seed, dataset):
    """Seed of the split of cases into train, validation and test."""
    return derive(seed, "split", dataset)


def source_seed(seed, dataset):
    """Seed of data that are made, such as phantoms."""
    return derive(seed, "source", dataset)
