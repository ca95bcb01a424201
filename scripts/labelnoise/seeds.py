"""One seed tree: every random stream derives from the study's seed and the stream's names."""

import hashlib

import numpy as np


def derive(seed: int, *names: str | int) -> int:
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


def label_seed(seed: int, dataset: str, perturbation: str, repeat: int) -> int:
    """Return the seed of a label draw: all networks and recipes of a repeat share its labels."""
    return derive(seed, "labels", dataset, perturbation, repeat)


def annotator_seed(seed: int, number: int) -> int:
    """Return the seed of what one annotator of several draws, given that of the labels."""
    return derive(seed, "annotator", number)


def training_seed(seed: int, model: str, repeat: int) -> int:
    """Return the seed of initial weights and batch order.

    It is equal for every perturbation, so that repeats pair up.
    """
    return derive(seed, "training", model, repeat)


def cases_seed(seed: int, dataset: str, repeat: int) -> int:
    """Return the seed of the order in which training cases are taken, where not all are.

    It is equal for every network, recipe and perturbation, so that repeats pair up.
    """
    return derive(seed, "cases", dataset, repeat)


def calibration_seed(seed: int, dataset: str, kind: str) -> int:
    """Return the seed of the draws that calibrate a kind.

    All sizes of a kind share it, so that severity grows with size.
    """
    return derive(seed, "calibration", dataset, kind)


def ceiling_seed(seed: int, dataset: str, perturbation: str) -> int:
    """Return the seed of the wrong test labels from which a ceiling is estimated."""
    return derive(seed, "ceiling", dataset, perturbation)


def split_seed(seed: int, dataset: str) -> int:
    """Return the seed of the split of cases into train, validation and test."""
    return derive(seed, "split", dataset)


def intensity_seed(seed: int, dataset: str, case: str) -> int:
    """Return the seed of a case's values that a dataset's statistics are taken from."""
    return derive(seed, "intensity", dataset, case)


def validation_seed(seed: int, dataset: str, fold: int) -> int:
    """Return the seed of a fold's validation cases, taken from those that it does not test."""
    return derive(seed, "split", dataset, "validation", fold)


def source_seed(seed: int, dataset: str) -> int:
    """Return the seed of data that are generated, such as phantoms."""
    return derive(seed, "source", dataset)
