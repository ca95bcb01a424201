"""DICOM series: slices checked, put in order and read into one volume.

DICOM gives positions in mm along the patient's left, posterior and superior (LPS); affines here are
those of `Volume`, right, anterior and superior (RAS).

Shape legend: I columns, J rows, K slices along the slice normal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import get_decoder

from labelnoise.data.sources.dicom_headers import DAMAGED, GEOMETRY, Slice, damaged
from labelnoise.data.sources.volumes import Volume
from labelnoise.errors import InputError

# Share by which a gap between neighbours may differ from the series' median gap, and how far, in
# pixels, a slice may be off the line of the others. Headers round; a missing slice doubles a gap.
TOLERANCE = 0.1
# Direction cosines and pixel spacings (mm) of one series are equal up to their rounding.
ROUNDING = 1e-3


@dataclass(frozen=True)
class Series:
    """Slices of one series in the order of their positions along the slice normal."""

    slices: list[Slice]
    affine: np.ndarray

    @property
    def uid(self) -> str:
        return self.slices[0].series

    @property
    def folder(self) -> Path:
        return self.slices[0].path.parent


def arrange(slices: list[Slice], unplaced: Sequence[Path] = ()) -> Series:
    """Check the slices of one series and put them in the order of their positions.

    Args:
        unplaced: image files of the series that lack a position.

    Raises:
        InputError: slices differ in size, orientation or pixel spacing, share a position, are
            unevenly spaced, lack a position, or are compressed in a way that nothing here decodes.
    """
    if unplaced:
        raise InputError(
            f"{unplaced[0]} has no {', '.join(GEOMETRY[:2])} or {GEOMETRY[2]}, unlike the "
            f"{len(slices)} other files of its series; repair its header or download it again."
        )
    first = slices[0]
    for slice_ in slices:
        _check_alike(first, slice_)
        _check_readable(slice_)
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    ordered = sorted(slices, key=lambda slice_: slice_.position @ normal)
    _check_even(ordered, normal)
    return Series(ordered, lps_to_ras(first.orientation, first.spacing, *_line(ordered, normal)))


def _check_alike(first, other):
    row, column = first.orientation[:3], first.orientation[3:]
    if max(abs(row @ row - 1), abs(column @ column - 1), abs(row @ column)) > ROUNDING:
        raise damaged(first.path, "its ImageOrientationPatient is not a pair of unit vectors")
    if other.shape[2] != 1 or min(other.spacing) <= 0:
        raise InputError(
            f"{other.path} holds {other.shape[2]} values per pixel at a pixel spacing of "
            f"{_words(other.spacing)} mm, expected a grey image and a spacing above 0; choose "
            "another series with `series_description`."
        )
    for name, key, limit in (
        ("rows and columns", "shape", 0),
        ("ImageOrientationPatient", "orientation", ROUNDING),
        ("PixelSpacing", "spacing", ROUNDING),
        ("FrameOfReferenceUID", "frame", None),
    ):
        one, two = getattr(first, key), getattr(other, key)
        same = one == two if limit is None else np.allclose(one, two, rtol=0, atol=limit)
        if not same:
            raise InputError(
                f"{other.path} has {name} {_words(two)}, but {first.path.name} of the same series "
                f"has {_words(one)}, expected one for all slices; remove the slices that belong to "
                "another acquisition."
            )


def _check_readable(slice_):
    syntax = slice_.syntax
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        missing = []
    else:
        if decoder.is_available:
            return
        missing = [text.partition("requires ")[2] for text in decoder.missing_dependencies]
    # gdcm comes first in pydicom's list, but has no wheel for every platform; pylibjpeg has.
    install = f"install {missing[-1]}, or " if missing else ""
    raise InputError(
        f"{slice_.path} is compressed as {syntax.name} ({syntax}), which no installed library "
        f"decodes; {install}decompress the series, for example with gdcmconv --raw."
    )


def _check_even(ordered, normal):
    """Refuse slices at one position, gaps where slices are missing, and slices off the line."""
    places = np.array([slice_.position @ normal for slice_ in ordered])
    gaps = np.diff(places)
    usual = np.median(gaps) if len(gaps) else 1.0
    for number, gap in enumerate(gaps):
        one, two = ordered[number : number + 2]
        between = f"{one.path.name} at {places[number]:g} mm and {two.path.name} at "
        between += f"{places[number + 1]:g} mm along the slice normal"
        if gap < TOLERANCE * usual or gap < ROUNDING:
            raise InputError(
                f"{one.path.parent}: two slices lie on one another, {between}, expected each "
                "position once; remove the copy, or the slices of a second acquisition."
            )
        if abs(gap - usual) > TOLERANCE * usual:
            raise InputError(
                f"{one.path.parent}: slices are missing or uneven between {between}, {gap:g} mm "
                f"apart, expected {usual:g} mm within {TOLERANCE:.0%}; download the series again, "
                "or remove the case."
            )
    _check_straight(ordered, normal)


def _check_straight(ordered, normal):
    origin, step = _line(ordered, normal)
    for position, slice_ in enumerate(ordered):
        off = slice_.position - origin - position * step
        sideways = np.linalg.norm(off - (off @ normal) * normal)
        if sideways > TOLERANCE * min(slice_.spacing):
            raise InputError(
                f"{slice_.path} lies {sideways:g} mm off the line of its series, expected slices "
                "in one straight stack; remove it, or choose another series."
            )


def _line(ordered, normal):
    """Return the position of the first slice and the mean step from one to the next."""
    first, last = ordered[0], ordered[-1]
    if len(ordered) == 1:
        return first.position, normal * first.thickness
    return first.position, (last.position - first.position) / (len(ordered) - 1)


def lps_to_ras(
    orientation: np.ndarray, spacing: np.ndarray, position: np.ndarray, step: np.ndarray
) -> np.ndarray:
    """Return the affine (4, 4) of slices whose voxel index is (column, row, slice), to RAS mm.

    Args:
        orientation: (6,) direction cosines along a row and along a column, LPS.
        spacing: (2,) mm between rows, then between columns, as DICOM's PixelSpacing.
        position: (3,) centre of the first voxel, LPS mm.
        step: (3,) from a slice to the next, LPS mm.
    """
    affine = np.eye(4)
    affine[:3, 0] = orientation[:3] * spacing[1]
    affine[:3, 1] = orientation[3:] * spacing[0]
    affine[:3, 2], affine[:3, 3] = step, position
    affine[:2] *= -1
    return affine


def _words(value):
    return value if isinstance(value, str) else " x ".join(f"{number:g}" for number in value)


def read_series(series: Series) -> Volume:
    """Read one slice after the other into a Volume of rescaled values (HU for CT).

    The type is int16 where that is exact, else float32.

    Raises:
        InputError: a file's pixels are truncated or cannot be decoded.
    """
    rows, columns, _ = series.slices[0].shape
    stack_KJI = np.empty((len(series.slices), rows, columns), np.int16)
    for number, slice_ in enumerate(series.slices):
        values_JI = _read_values(slice_)
        if stack_KJI.dtype == np.int16 and not _fits(values_JI):
            stack_KJI = stack_KJI.astype(np.float32)
        stack_KJI[number] = values_JI
    return Volume(stack_KJI.transpose(2, 1, 0), series.affine)


def _fits(values):
    limits = np.iinfo(np.int16)
    return values.dtype.kind == "i" and limits.min <= values.min() <= values.max() <= limits.max


def _read_values(slice_):
    """Return values (J, I) with rescale slope and intercept applied, int64 where exact."""
    try:
        dataset = pydicom.dcmread(slice_.path)
        stored_JI = dataset.pixel_array
        slope = float(dataset.get("RescaleSlope", 1))
        intercept = float(dataset.get("RescaleIntercept", 0))
    except DAMAGED as error:
        raise damaged(slice_.path, f"its pixels are truncated or damaged: {error}") from None
    if stored_JI.shape != slice_.shape[:2]:
        raise damaged(slice_.path, f"its pixels have shape {stored_JI.shape}")
    if stored_JI.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer():
        return stored_JI.astype(np.int64) * int(slope) + int(intercept)
    return stored_JI * slope + intercept
