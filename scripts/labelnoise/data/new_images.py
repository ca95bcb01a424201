"""New images, checked, and prepared as those of a dataset were.

Shape legend: S slices of one case, H height, W width in pixels.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from labelnoise.data.intensity import LARGEST, Intensity, Scale
from labelnoise.data.resize import Grid, fit_grid, resize_images
from labelnoise.errors import InputError


def check_images(images: ArrayLike) -> np.ndarray:
    """Return slices of one case as an array (S, H, W) of the number type that they have.

    Args:
        images: (S, H, W), or one slice, (H, W).

    Raises:
        InputError: these are no finite real numbers, are none at all, or have other axes.
    """
    try:
        array = np.asarray(images)
    except ValueError:
        raise InputError(
            "the slices are of different sizes, expected one array (slices, height, width); "
            "predict cases of one size at a time."
        ) from None
    if array.dtype.kind not in "iuf":
        is_path = isinstance(images, (str, os.PathLike))
        found = "a path" if is_path else f"of type {array.dtype}"
        raise InputError(
            f"the images are {found}, expected an array of whole or floating-point numbers in "
            "source units; read files first, or use `labelnoise.predict_file`."
        )
    if array.ndim not in (2, 3) or not array.size:
        raise InputError(
            f"the images have shape {array.shape}, expected (slices, height, width) or "
            "(height, width), none of them 0; reorder or drop axes."
        )
    array = array[None] if array.ndim == 2 else array
    # Slice by slice, since a mask of a whole scan is a tenth of a gigabyte.
    for number, image_HW in enumerate(array):
        broken = image_HW.size - int(np.isfinite(image_HW).sum())
        if broken:
            raise InputError(
                f"slice {number} holds {broken} pixels of NaN or infinity, expected finite values; "
                "give those pixels the value of the background."
            )
    return array


@dataclass(frozen=True)
class Prepared:
    """One case, of which slices are prepared when they are asked for.

    Attributes:
        images_SHW: all of its slices, in source units.
        scale: how their values become stored ones.
        grid: where stored pixels lie on theirs.
        padding: the stored value of what lies beyond them.
    """

    images_SHW: np.ndarray
    scale: Scale
    grid: Grid
    padding: float

    def read(self, rows: slice) -> np.ndarray:
        """Return slices as the dataset file would hold them: float32 of the precision of float16.

        Raises:
            InputError: a value is too large for a dataset file.
        """
        scaled_SHW = self.scale.apply(self.images_SHW[rows])
        largest = float(np.abs(scaled_SHW).max(initial=0))
        if largest > LARGEST:
            raise InputError(
                f"a value is {largest:g}, and the network was trained on values as they are "
                f"(`normalise: none`), which are stored up to {LARGEST}; correct the image."
            )
        if self.grid.resamples:
            scaled_SHW = resize_images(scaled_SHW, self.grid, self.padding)
        return scaled_SHW.astype(np.float16).astype(np.float32, order="C")


@dataclass(frozen=True)
class Preparation:
    """How the images of a dataset were prepared.

    Attributes:
        intensity: how source values became stored ones.
        shape_HW: height and width of the stored slices; None where it is not known.
        grid: the dataset's settings `size` and `spacing`. None where they are not known, as in
            checkpoints written before they were kept: slices of any size then stay as they are.
    """

    intensity: Intensity
    shape_HW: tuple[int, int] | None = None
    grid: Mapping[str, Any] | None = None

    def fit(self, images_SHW: np.ndarray, spacing_3: ArrayLike | None = None) -> Prepared:
        """Return what prepares one case.

        Args:
            images_SHW: all slices of the case, as `check_images` returns them.
            spacing_3: mm between slices, rows and columns; None or NaN where unknown.

        Raises:
            InputError: the dataset would not take such slices: they come to another size than the
                stored ones, their spacing is needed but not known, or their values are all alike
                where each case is scaled by its own.
        """
        grid = self._fit_grid(images_SHW.shape[1:], check_spacing(spacing_3))
        scale = self.intensity.fit(images_SHW)
        return Prepared(images_SHW, scale, grid, scale.padding(images_SHW))

    def _fit_grid(self, shape_HW, spacing_3):
        if self.grid is None:
            return fit_grid(shape_HW)
        size, pixel_mm = self.grid["size"], self.grid["spacing"]
        if pixel_mm is not None and not np.isfinite(spacing_3[1:]).all():
            raise InputError(
                f"the network was trained on pixels of {_times(pixel_mm)} mm, but the spacing of "
                "these slices is not known; give `spacing_3`, the mm between slices, rows and "
                "columns."
            )
        grid = fit_grid(shape_HW, spacing_3, size, pixel_mm)
        if self.shape_HW is None or grid.shape == self.shape_HW:
            return grid
        become = "" if pixel_mm is None else f", {_times(grid.shape)} at its spacing,"
        raise InputError(
            f"the slices are {_times(shape_HW)} pixels (height x width){become} but the network "
            f"was trained on {_times(self.shape_HW)}, on a dataset without `size`; cut or pad "
            "them to the field of view of that dataset's, or train on one with `size`, which "
            "takes slices of any size."
        )


def check_spacing(spacing_3: ArrayLike | None) -> np.ndarray:
    """Return mm between slices, rows and columns, float64, NaN where unknown.

    Raises:
        InputError: they are not three positive numbers; NaN and None are unknown ones.
    """
    if spacing_3 is None:
        return np.full(3, np.nan)
    try:
        array = np.asarray(spacing_3, np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != (3,) or (array <= 0).any() or np.isinf(array).any():
        raise InputError(
            f"the spacing is {spacing_3!r}, expected three positive numbers, the mm between "
            "slices, rows and columns; NaN stands for an unknown one."
        )
    return array


def _times(numbers):
    return " x ".join(f"{number:g}" for number in numbers)
