"""What a trainer predicts: checked as it comes in, and kept beside the run in place of weights.

Shape legend: N rows, S slices of a part, C classes, H height, W width, n rows asked for.
"""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from labelnoise.data.checksums import (
    DAMAGED,
    STORED,
    create,
    read_attributes,
    write_array,
    write_attributes,
    write_texts,
)
from labelnoise.data.storage import Dataset
from labelnoise.errors import InputError
from labelnoise.files import whole_file
from labelnoise.training.trainers.raw_dataset import Part

FORMAT = "labelnoise-predictions"
FORMAT_VERSION = 1
ENDING, KEY = ".npz", "probabilities"
# How far probabilities may be from 0, 1 and a sum of 1: those of half precision are off by less.
OFF = 0.01
# What NumPy raises where a file is no whole archive.
BROKEN = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)
MEND = "delete the run's folder, so that it is trained again"


def read_output(folder: Path, parts: Sequence[Part], data: Dataset) -> np.ndarray:
    """Read what a trainer wrote, and refuse what is not what was asked for.

    Args:
        folder: its output, a file NAME.npz for each part, with the array `probabilities`
            (C, S, H, W), any floating type. Files of other endings are not looked at.
        parts: what had to be predicted.
        data: the dataset.

    Returns:
        probabilities_NCHW, float32, the rows of all parts one after another.

    Raises:
        InputError: a file is missing, is one too many, cannot be read, or holds other than
            probabilities of the right shape; the message names it.
    """
    names = {part.name for part in parts}
    for path in sorted(folder.glob(f"*{ENDING}")):
        if path.name.removesuffix(ENDING) not in names:
            raise InputError(
                f"{path} is of no image in imagesTs; expected one file for each, such as "
                f"{parts[0].name}{ENDING}, and no other."
            )
    return np.concatenate(
        [_read_part(folder / f"{part.name}{ENDING}", part, data) for part in parts]
    )


def _read_part(path: Path, part: Part, data: Dataset) -> np.ndarray:
    """Return the probabilities of one part, (S, C, H, W)."""
    if not path.is_file():
        raise InputError(
            f"{path} is missing; the trainer has to write one for each image in imagesTs."
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = archive[KEY]
    except BROKEN as error:
        raise InputError(
            f"{path} holds no readable array '{KEY}' ({str(error).strip() or type(error).__name__})"
            "; write it with numpy.savez."
        ) from None
    expected = (len(data.class_names), len(part.rows), *data.shape)
    if found.shape != expected or found.dtype.kind != "f":
        raise InputError(
            f"{path} holds {KEY} of shape {found.shape} and type {found.dtype}; expected "
            f"{expected}, that is classes, slices, rows and columns, of a floating type."
        )
    found = found.astype(np.float32)
    if not np.isfinite(found).all():
        raise InputError(f"{path} holds {KEY} that are not finite; expected numbers from 0 to 1.")
    low, high = float(found.min()), float(found.max())
    if low < -OFF or high > 1 + OFF:
        raise InputError(
            f"{path} holds {KEY} from {low:g} to {high:g}; expected numbers from 0 to 1."
        )
    sums = found.sum(axis=0)
    worst = float(sums.flat[np.abs(sums - 1).argmax()])
    if abs(worst - 1) > OFF:
        raise InputError(
            f"{path} holds {KEY} of a pixel that sum to {worst:g}; expected 1 over all classes, "
            "background among them."
        )
    return found.clip(0, 1).transpose(1, 0, 2, 3)


def write_predictions(
    path: Path,
    rows: np.ndarray,
    probabilities_NCHW: np.ndarray,
    data: Dataset,
    about: Mapping[str, Any],
) -> None:
    """Write the probabilities of some rows of a dataset; the file appears whole or not at all.

    HDF5: /probabilities (N, C, H, W), float16, and /row (N,). All classes are kept, so that small
    probabilities of either side stay apart; what is nearer to 0.5 than 0.0003 becomes it.

    Args:
        path: the file.
        rows: (N,) rows.
        probabilities_NCHW: as `read_output` returns them.
        data: the dataset.
        about: further attributes: texts and numbers.
    """
    with whole_file(path) as temporary, create(temporary) as file:
        file.create_dataset(
            KEY,
            data=probabilities_NCHW.astype(np.float16),
            chunks=(1, *probabilities_NCHW.shape[1:]),
            compression_opts=1,
            **STORED,
        )
        write_array(file, "row", np.asarray(rows, np.int64))
        write_texts(file, "class", data.class_names)
        attributes = {"format": FORMAT, "format_version": FORMAT_VERSION, **about}
        write_attributes(file, attributes)


class Predictions:
    """Read a file of predictions.

    Attributes:
        path: the file.
        rows: (N,) rows of the dataset that it has.
        classes: names of the classes, background first.

    Raises:
        InputError: the file is missing, damaged, of another kind or version.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.is_file():
            raise InputError(f"{path} does not exist; {MEND}.")
        try:
            with h5py.File(path) as file:
                attributes = read_attributes(file)
                found = (attributes.get("format"), attributes.get("format_version"))
                if found != (FORMAT, FORMAT_VERSION):
                    raise ValueError(f"it is {found[0]}, version {found[1]}")
                self.rows = file["row"][:]
                self.classes = file["class"].asstr()[:].tolist()
                shape = file[KEY].shape
            if shape[:2] != (len(self.rows), len(self.classes)) or len(shape) != 4:
                raise ValueError(f"its {KEY} are of shape {shape}")
        except DAMAGED as error:
            raise self._unusable(error) from None
        self._places = {int(row): place for place, row in enumerate(self.rows)}

    def read(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return probabilities_nCHW, float32, of rows of the dataset in the order asked for.

        Raises:
            InputError: a row has none, or the file is damaged.
        """
        try:
            places = [self._places[int(row)] for row in rows]
        except KeyError as error:
            raise self._unusable(f"it has none of row {error} of its dataset") from None
        try:
            with h5py.File(self.path) as file:
                found = np.stack([file[KEY][place] for place in places])
        except DAMAGED as error:
            raise self._unusable(error) from None
        return found.astype(np.float32)

    def predict_rows(self, rows: Sequence[int], images_NKHW: np.ndarray) -> np.ndarray:
        """Return what `read` does; a network's answer to the images is not needed."""
        return self.read(rows)

    def _unusable(self, why):
        return InputError(f"{self.path} cannot be used as predictions ({why}); {MEND}.")
