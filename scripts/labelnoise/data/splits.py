"""Which case is for training, validation or testing: by shares, as listed, or in folds.

A split is assigned by the source's names of cases, in the source's order.
"""

import difflib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labelnoise.data.storage import SPLITS
from labelnoise.errors import InputError
from labelnoise.folds import base_of, fold_names
from labelnoise.seeds import split_seed, validation_seed

# The setting `split` of a dataset, completed by `labelnoise.config`.
Split = Mapping[str, Any]
# Names that a message lists before it stops.
SHOWN = 5


def assign_splits(name: str, cases: Sequence[str], split: Split, seed: int) -> dict[str, str]:
    """Map each case to "train", "validation" or "test".

    Args:
        name: the dataset, or one of its folds.
        cases: the source's names, in its order, which matters as much as the seed.
        split: the setting: shares, lists, or one fold of several.
        seed: the study's seed.

    Returns:
        {case: split} in the order of `cases`, without those that `unlisted: skip` leaves out.

    Raises:
        InputError: there are too few cases; or a list or file of splits does not fit them.
    """
    if "folds" in split:
        if split["fold"] is None:
            known = ", ".join(fold_names(name, {"split": split}))
            raise InputError(
                f"dataset {name} has {split['folds']} folds, and a file for each of them, not for "
                f"all; name one: {known}."
            )
        return assign_folds(name, cases, split, seed)[split["fold"]]
    if isinstance(split["train"], list):
        return _as_listed(f"dataset {name}: `split`", cases, split, split["unlisted"])
    return split_cases(name, cases, split, split_seed(seed, base_of(name)))


def split_cases(
    name: str, cases: Sequence[str], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Split cases at random into train, validation and test.

    Counts are the shares by largest remainder, and at least one case each.

    Args:
        name: the dataset, for messages.
        cases: names of the cases; their order matters as much as the seed.
        shares: {"train": share, "validation": share, "test": share}, above 0 and summing to 1.
        seed: of the split.

    Returns:
        {case: split}.

    Raises:
        InputError: there are too few cases.
    """
    if len(cases) < len(SPLITS):
        raise InputError(
            f"dataset {name}: there is too little to split, {len(cases)} cases, and at least "
            f"{len(SPLITS)} are needed, one each for {', '.join(SPLITS)}; add cases."
        )
    counts = _share_out(len(cases), [shares[split] for split in SPLITS])
    order = np.random.default_rng(seed).permutation(len(cases))
    labels = np.repeat(SPLITS, counts).tolist()
    split_of = dict(zip(order.tolist(), labels, strict=True))
    return {case: split_of[position] for position, case in enumerate(cases)}


def assign_folds(
    name: str, cases: Sequence[str], split: Split, seed: int
) -> dict[int, dict[str, str]]:
    """Map the cases to their splits in each fold of the study, or in the one that `split` names.

    A fold's cases are its test split; validation cases are a seeded share of the others, so that
    no checkpoint and no threshold is chosen on cases that are tested. Of nnU-Net's file, `val` is
    what a fold tests and `train` what validation cases are taken from.

    Args:
        name: the dataset, or one of its folds.
        cases: the source's names, in its order.
        split: the setting, with `folds`: how many they are, or None where one of a file is enough.
        seed: the study's seed.

    Returns:
        {fold: {case: split}}, see `assign_splits`. Where `folds` is given, each case is tested in
        exactly one of them.

    Raises:
        InputError: there are too few cases for the folds, or the file of splits does not fit them.
    """
    base = base_of(name)
    if split["file"] is None:
        tested = _random_parts(base, cases, split["folds"], split_seed(seed, base))
        folds = {fold: _complement(cases, part) for fold, part in enumerate(tested)}
    else:
        folds = _read_folds(base, cases, split)
    share = split["validation"]
    return {
        fold: _with_validation(
            f"dataset {base}, fold {fold}", split_of, share, validation_seed(seed, base, fold)
        )
        for fold, split_of in folds.items()
    }


def _random_parts(name, cases, folds, seed):
    """Return disjoint parts of all cases, as equal as can be."""
    if folds > len(cases) or len(cases) < len(SPLITS):
        raise InputError(
            f"dataset {name}: `split.folds` is {folds}, but there are {len(cases)} cases; expected "
            "at least one case to test in each fold and two others; lower `folds`, or add cases."
        )
    order = np.random.default_rng(seed).permutation(len(cases))
    return [[cases[place] for place in part] for part in np.array_split(order, folds)]


def _complement(cases, tested):
    tested = set(tested)
    return {case: "test" if case in tested else "train" for case in cases}


def _with_validation(where, split_of, share, seed):
    """Return the splits with a seeded share of the training cases for validation."""
    train = [case for case, split in split_of.items() if split == "train"]
    if len(train) < 2:
        raise InputError(
            f"{where}: there are {len(train)} cases besides those tested, expected at least two, "
            "one to train on and one to validate on; add cases."
        )
    _, count = _share_out(len(train), [1 - share, share])
    chosen = np.random.default_rng(seed).permutation(len(train))[:count]
    return split_of | {train[place]: "validation" for place in chosen}


def _read_folds(name, cases, split):
    """Return {fold: {case: "train" or "test"}} of nnU-Net's file of splits."""
    path, fold, count = split["file"], split["fold"], split["folds"]
    where = f"dataset {name}: {path}"
    found = read_splits_file(path)
    if count not in (None, len(found)):
        raise InputError(
            f"{where} has {len(found)} folds, but `split.folds` is {count}; write {len(found)}, or "
            "name another file."
        )
    if fold is not None and fold >= len(found):
        raise InputError(
            f"{where} has the folds 0 to {len(found) - 1}, but `split.fold` is {fold}; name one of "
            "them."
        )
    chosen = range(len(found)) if count else [fold]
    folds = {
        number: _as_listed(f"{where}, fold {number}", cases, found[number], split["unlisted"])
        for number in chosen
    }
    if count:
        _check_whole(where, folds)
    return folds


def _check_whole(where, folds):
    """Refuse folds that do not test each case once, or that are of different cases."""
    first = folds[0]
    for fold, split_of in folds.items():
        if other := sorted(first.keys() ^ split_of.keys()):
            raise InputError(
                f"{where}: fold 0 and fold {fold} are not of the same cases, only one of them has "
                f"{_listed(other)}; name every case in each fold, as train or val."
            )
    tests = Counter(
        case for split_of in folds.values() for case, split in split_of.items() if split == "test"
    )
    if wrong := [case for case in first if tests[case] != 1]:
        raise InputError(
            f"{where}: expected each case in the val of exactly one fold, but {wrong[0]!r} is in "
            f"that of {tests[wrong[0]]} ({len(wrong)} such cases); correct the file, or take one "
            "fold of it with `fold`."
        )


def read_splits_file(path: str | Path) -> list[dict[str, list[str]]]:
    """Read nnU-Net's splits_final.json: a list of folds, each {"train": [...], "val": [...]}.

    Returns:
        One mapping per fold: "train" and "test" (its `val`), lists of names, none empty.

    Raises:
        InputError: the file is missing, is no JSON, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"there is no file of splits {path}; correct `split.file`, or put nnU-Net's "
            "splits_final.json there."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} cannot be read as JSON ({error}), expected nnU-Net's splits_final.json; "
            "write it again."
        ) from None
    expected = 'expected a list of folds, each {"train": [names], "val": [names]}'
    if not isinstance(content, list) or not content:
        raise InputError(f"{path} holds no list of folds, {expected}; correct the file.")
    folds = []
    for number, fold in enumerate(content):
        for key in ("train", "val"):
            names = fold.get(key) if isinstance(fold, dict) else None
            if not (isinstance(names, list) and names and all(isinstance(n, str) for n in names)):
                raise InputError(
                    f"{path}: fold {number} has no list of names under '{key}', {expected}; "
                    "correct the file."
                )
        folds.append({"train": fold["train"], "test": fold["val"]})
    return folds


def _as_listed(
    where: str, cases: Sequence[str], listed: Mapping[str, Any], unlisted: str
) -> dict[str, str]:
    """Return {case: split} of lists of names by split; other keys are ignored."""
    given = [(case, split) for split in SPLITS for case in listed.get(split, ())]
    split_of = dict(given)
    known = set(cases)
    if strange := [case for case in split_of if case not in known]:
        raise InputError(
            f"{where} names {strange[0]!r}, which is no case of the source"
            f"{_others(strange)}; {_near(strange[0], cases)}"
        )
    if len(split_of) < len(given):
        case, count = Counter(case for case, _ in given).most_common(1)[0]
        places = " and ".join(dict.fromkeys(split for each, split in given if each == case))
        raise InputError(f"{where} names {case!r} {count} times, in {places}; name it once.")
    left = [case for case in cases if case not in split_of]
    if left and unlisted == "refuse":
        raise InputError(
            f"{where} does not name {len(left)} of {len(cases)} cases, {_listed(left)}; add them, "
            "or set `split.unlisted: skip` to leave them out."
        )
    return {case: split_of[case] for case in cases if case in split_of}


def _near(name: str, cases: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, cases, 3)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"its cases are {_listed(cases)}."


def _others(names: Collection[str]) -> str:
    return f" ({len(names)} such names)" if len(names) > 1 else ""


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more


def _share_out(total, shares):
    """Return whole counts by largest remainder, none of them 0."""
    exact = total * np.array(shares)
    counts = np.floor(exact + 1e-9).astype(int)
    # Ties go to the first split; rounding keeps them ties.
    for position in np.argsort(-np.round(exact - counts, 9), kind="stable")[: total - counts.sum()]:
        counts[position] += 1
    while counts.min() == 0:
        counts[counts.argmax()] -= 1
        counts[counts.argmin()] += 1
    return counts
