"""The .npy bundles that the 2018 code (neheller/labels18) trained on, with their own split.

`folder` holds training / validation / testing, and each of these pairs of files:
- dense: `x-ntl-7.npy` (n, H, W, 1) and `y-ntl-lo-7.npy` (n, H, W, 2), one-hot;
- sparse: `X-ntl-7.npy` and `Y-ntl-7.npy`, both (n, H, W, 1), 1 inside the structure;
n is 20 and the slices are 512 x 512 in the paper's files. In one-hot labels channel 0 is the
structure and channel 1 the background: the 2018 code fills sparse labels into channel 0, perturbs
channel 0 and scores channel 0 (DataGenerator.py, preprocessing/tools.py, Models/metrics.py).
Images hold unclipped HU: the 2018 code clips them to [-128, 128] when it loads them.

`ntl` bundles are those that the 2018 code reads, slices that show the structure; `tvl` bundles are
the rest, taken only with `select: all`. Bundles name no patients, so each bundle counts as a case:
the split is the paper's, but the spread over cases says nothing about patients.
"""

import logging
import re
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np

from labelnoise.data.sources import Case, Settings
from labelnoise.data.sources.folders import check_file, shown_folder
from labelnoise.data.sources.npy_files import open_npy
from labelnoise.errors import InputError

logger = logging.getLogger(__name__)

# The 2018 code's folders, and the split that each becomes.
SPLIT_OF = {"training": "train", "validation": "validation", "testing": "test"}
PATTERN = re.compile(r"(?P<part>x|y|X|Y)-(?P<kind>ntl|tvl)(?P<organ>-lo)?-(?P<number>\d+)\.npy")


def cases(settings: Settings, seed: int) -> list[Case]:
    """Return one case per bundle, in the order of folders and numbers; the seed is not used.

    Raises:
        InputError: a split's folder is missing, unknown or holds no bundle, an x or y has no
            partner, or a file is not an array of the right shape.
    """
    kinds = ("ntl",) if settings["select"] == "structure" else ("ntl", "tvl")
    found = []
    for folder in _folders(Path(settings["folder"])):
        for (kind, number), (x_path, y_path) in _pairs(folder, kinds).items():
            _check_shapes(x_path, y_path)
            name = f"{folder.name}-{kind}-{number}"
            found.append(Case(name, partial(_read, x_path, y_path), SPLIT_OF[folder.name]))
    return found


def class_names(settings: Settings) -> list[str]:
    """Return "background" and the structure that the config names."""
    return ["background", settings["structure"]]


def describe(settings: Settings) -> dict:
    """Return the provenance: where the bundles are, and what they cannot tell."""
    return {
        "what": f"bundles of the 2018 code in {shown_folder(settings['folder'])}",
        "licence": "that of the data the bundles were made from",
        "warning": "bundles hold no patient ids, so each bundle counts as a case: the spread over "
        "cases says nothing about patients",
        "split": "the folders training, validation and testing",
    }


def _folders(folder):
    expected = ", ".join(SPLIT_OF)
    names = {path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "."}
    for name in sorted(names - set(SPLIT_OF)):
        raise InputError(
            f"{folder / name} is not a folder of the 2018 code, expected {expected}; rename it to "
            "one of these, or move it elsewhere."
        )
    for name in SPLIT_OF:
        if name not in names:
            raise InputError(
                f"{folder} has no folder {name}, expected {expected}; add it, or correct `folder`."
            )
    return [folder / name for name in SPLIT_OF]


def _pairs(folder, kinds):
    """Return {(kind, number): (x path, y path)}, sorted.

    Raises:
        InputError: a bundle lacks a file or is there twice, or there is no bundle.
    """
    files, others = defaultdict(dict), 0
    for path in sorted(folder.iterdir()):
        match = PATTERN.fullmatch(path.name)
        # Only dense labels carry the "lo" of the 2018 code's pattern, `y*lo*.npy`.
        if match and bool(match["organ"]) == (match["part"] == "y") and match["kind"] in kinds:
            check_file(path)
            files[match["kind"], int(match["number"])].setdefault(match["part"], []).append(path)
        else:
            others += 1
    if not files:
        raise InputError(
            f"{folder} holds no bundle, expected pairs such as x-{kinds[0]}-7.npy and "
            f"y-{kinds[0]}-lo-7.npy, or X-{kinds[0]}-7.npy and Y-{kinds[0]}-7.npy; add them, or "
            "correct `folder`."
        )
    if others:
        logger.info(
            "%s: %d files are not %s bundles and are ignored",
            folder.name,
            others,
            " or ".join(kinds),
        )
    return {key: _pair(folder, key, files[key]) for key in sorted(files)}


def _pair(folder, key, parts):
    """Return the one x and the one y of a bundle, both dense or both sparse."""
    names = ", ".join(sorted(path.name for paths in parts.values() for path in paths))
    if len(parts) == 1 and all(len(paths) == 1 for paths in parts.values()):
        part = next(iter(parts))
        partner = {"x": "y", "y": "x", "X": "Y", "Y": "X"}[part]
        name = f"{partner}-{key[0]}{'-lo' if partner == 'y' else ''}-{key[1]}.npy"
        raise InputError(
            f"{folder}: {names} has no {name} beside it, expected an x and a y for every bundle; "
            "add the missing file, or remove this one."
        )
    if set(parts) not in ({"x", "y"}, {"X", "Y"}) or any(len(p) > 1 for p in parts.values()):
        raise InputError(
            f"{folder}: bundle {key[0]}-{key[1]} has the files {names}, expected one x with its y "
            "or one X with its Y; remove the others."
        )
    return tuple(parts[part][0] for part in sorted(parts))


def _check_shapes(x_path, y_path):
    x_shape, y_shape = open_npy(x_path).shape, open_npy(y_path).shape
    channels = 2 if y_path.name.startswith("y") else 1
    if len(x_shape) != 4 or x_shape[3] != 1 or 0 in x_shape:
        raise InputError(
            f"{x_path} has shape {x_shape}, expected (slices, height, width, 1); it is not a "
            "bundle of images, replace or remove it."
        )
    if y_shape != (*x_shape[:3], channels):
        raise InputError(
            f"{y_path} has shape {y_shape}, expected {(*x_shape[:3], channels)} to fit "
            f"{x_path.name}; replace the pair, or remove it."
        )


def _read(x_path, y_path):
    """Return images float32 HU, labels uint8 and slice numbers in the bundle."""
    images_SHW = np.array(open_npy(x_path)[..., 0], np.float32)
    stored_SHWC = open_npy(y_path)
    labels_SHW = np.empty(images_SHW.shape, np.uint8)
    for number, stored_HWC in enumerate(stored_SHWC):
        _check_labels(f"{y_path}, slice {number}", stored_HWC)
        labels_SHW[number] = stored_HWC[..., 0]
    return images_SHW, labels_SHW, np.arange(len(images_SHW))


def _check_labels(where, stored_HWC):
    known_HWC = (stored_HWC == 0) | (stored_HWC == 1)
    if not known_HWC.all():
        raise InputError(
            f"{where}: a label is {stored_HWC[~known_HWC][0]:g}, expected 0 or 1; save the labels "
            "as they were before any interpolation, or with other structures merged."
        )
    if stored_HWC.shape[-1] == 2 and not (stored_HWC.sum(axis=-1) == 1).all():
        raise InputError(
            f"{where}: the two channels are not one-hot, expected structure and background to sum "
            "to 1 in every pixel; write channel 1 as 1 - channel 0."
        )
