"""New images, checked, and prepared as those of a dataset were.

Shape legend: S slices of one case, K channels, H height, W width in pixels.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from labelnoise.config.channels import ONE
from labelnoise.data.intensity import LARGEST, Intensity, Scale
from labelnoise.data.resize import Grid, fit_grid, resize_images
from labelnoise.errors import InputError


def check_images(images: ArrayLike, channels: Sequence[str] = (ONE,)) -> np.ndarray:
    """Return slices of one case as an array (S, K, H, W) of the number type that they have.

    Args:
        images: (S, K, H, W); of one channel also (S, H, W), or one slice, (H, W).
        channels: names of the K channels.

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
    images_SKHW = _with_channels(array, channels)
    # Slice by slice, since a mask of a whole scan is a tenth of a gigabyte.
    for number, image_KHW in enumerate(images_SKHW):
        broken = image_KHW.size - int(np.isfinite(image_KHW).sum())
        if broken:
            raise InputError(
                f"slice {number} holds {broken} pixels of NaN or infinity, expected finite values; "
                "give those pixels the value of the background."
            )
    return images_SKHW


def _with_channels(array, channels):
    """Return images (S, K, H, W), K being the number of channels."""
    whole = array
    if len(channels) == 1 and array.ndim in (2, 3):
        whole = (array if array.ndim == 3 else array[None])[:, None]
    if whole.ndim == 4 and whole.shape[1] == len(channels) and whole.size:
        return whole
    if len(channels) == 1:
        raise InputError(
            f"the images have shape {array.shape}, expected (slices, height, width) or "
            "(height, width), none of them 0; reorder or drop axes."
        )
    raise InputError(
        f"the images have shape {array.shape}, expected (slices, {len(channels)}, height, width), "
        f"none of them 0; the network sees the channels {', '.join(channels)}, so stack these in "
        "this order on the second axis."
    )


@dataclass(frozen=True)
class Prepared:
    """One case, of which slices are prepared when they are asked for.

    Attributes:
        images_SKHW: all of its slices, in source units.
        scales: how the values of each channel become stored ones.
        grid: where stored pixels lie on theirs.
        paddings: the stored value, in each channel, of what lies beyond them.
    """

    images_SKHW: np.ndarray
    scales: Sequence[Scale]
    grid: Grid
    paddings: Sequence[float]

    def read(self, rows: slice) -> np.ndarray:
        """Return slices as `Dataset.read` does: (n, K, H, W), float32 of the precision of float16.

        Raises:
            InputError: a value is too large for a dataset file.
        """
        channels = [
            self._read_channel(self.images_SKHW[rows, place], scale, padding)
            for place, (scale, padding) in enumerate(zip(self.scales, self.paddings, strict=True))
        ]
        return np.stack(channels, axis=1)

    def _read_channel(self, images_SHW, scale, padding):
        scaled_SHW = scale.apply(images_SHW)
        largest = float(np.abs(scaled_SHW).max(initial=0))
        if largest > LARGEST:
            raise InputError(
                f"a value is {largest:g}, and the network was trained on values as they are "
                f"(`normalise: none`), which are stored up to {LARGEST}; correct the image."
            )
        if self.grid.resamples:
            scaled_SHW = resize_images(scaled_SHW, self.grid, padding)
        return scaled_SHW.astype(np.float16).astype(np.float32, order="C")


@dataclass(frozen=True)
class Preparation:
    """How the images of a dataset were prepared.

    Attributes:
        intensities: {channel: how its source values became stored ones}.
        shape_HW: height and width of the stored slices; None where it is not known.
        grid: the dataset's settings `size` and `spacing`. None where they are not known, as in
            checkpoints written before they were kept: slices of any size then stay as they are.
    """

    intensities: Mapping[str, Intensity]
    shape_HW: tuple[int, int] | None = None
    grid: Mapping[str, Any] | None = None

    def fit(self, images_SKHW: np.ndarray, spacing_3: ArrayLike | None = None) -> Prepared:
        """Return what prepares one case.

        Args:
            images_SKHW: all slices of the case, as `check_images` returns them.
            spacing_3: mm between slices, rows and columns; None or NaN where unknown.

        Raises:
            InputError: the dataset would not take such slices: they come to another size than the
                stored ones, their spacing is needed but not known, or their values are all alike
                where each case is scaled by its own.
        """
        grid = self._fit_grid(images_SKHW.shape[2:], check_spacing(spacing_3))
        channels = list(np.moveaxis(images_SKHW, 1, 0))
        scales = [
            intensity.fit(images_SHW)
            for intensity, images_SHW in zip(self.intensities.values(), channels, strict=True)
        ]
        paddings = [
            scale.padding(images_SHW) for scale, images_SHW in zip(scales, channels, strict=True)
        ]
        return Prepared(images_SKHW, scales, grid, paddings)

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
