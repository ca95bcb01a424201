"""Contours of masks, and masks of contours: the geometry behind the label errors.

Shape legend: H height, W width, K contours, P contour points.
"""

from typing import NamedTuple

import numpy as np
from contourpy import FillType, LineType, SerialContourGenerator, ZInterp


class Contours(NamedTuple):
    """Closed contours of a mask; each contour's last point repeats its first.

    points_P2: (row, column) in pixels, pixel centres at whole numbers.
    starts_K: index of each contour's first point.
    contour_P: contour of each point.
    object_K: object that each contour bounds.
    outer_K: True for an object's outer contour, False for its holes.
    """

    points_P2: np.ndarray
    starts_K: np.ndarray
    contour_P: np.ndarray
    object_K: np.ndarray
    outer_K: np.ndarray


def find_contours(mask_HW: np.ndarray) -> Contours:
    """Trace the contours half way between foreground and background of a mask that is not empty.

    Returns:
        Contours; an object's outer contour comes before its holes. Objects that touch at a corner
        may count as one.
    """
    rows, columns = bounding_box(mask_HW)
    # The border of background closes contours of objects that touch the slice's edge.
    crop_HW = np.zeros((rows.stop - rows.start + 2, columns.stop - columns.start + 2))
    crop_HW[1:-1, 1:-1] = mask_HW[rows, columns]
    # Only foreground pixels are between a half and two.
    (points_P2,), (offsets,), (objects,) = _generator(crop_HW).filled(0.5, 2)
    offsets, objects = offsets.astype(np.intp), objects.astype(np.intp)
    outer_K = np.zeros(len(offsets) - 1, dtype=bool)
    outer_K[objects[:-1]] = True
    points_P2 = points_P2[:, ::-1] + (rows.start - 1, columns.start - 1)
    contour_P = np.repeat(np.arange(len(outer_K)), np.diff(offsets))
    return Contours(points_P2, offsets[:-1], contour_P, np.cumsum(outer_K) - 1, outer_K)


def _generator(values_HW):
    """Return a contour generator on pixel coordinates."""
    # contourpy.contour_generator first searches the values for NaN and masks, which here doubles
    # the time.
    height, width = values_HW.shape
    return SerialContourGenerator(
        np.broadcast_to(np.arange(width, dtype=np.float64), (height, width)),
        np.broadcast_to(np.arange(height, dtype=np.float64)[:, None], (height, width)),
        values_HW,
        None,
        corner_mask=False,
        line_type=LineType.ChunkCombinedOffset,
        fill_type=FillType.ChunkCombinedOffsetOffset,
        quad_as_tri=False,
        z_interp=ZInterp.Linear,
        x_chunk_size=0,
        y_chunk_size=0,
    )


def bounding_box(mask_HW: np.ndarray) -> tuple[slice, slice]:
    """Return row and column slices of the smallest box around the foreground, not empty."""
    # Bytes are searched several times as fast as NumPy reduces rows.
    line, width = mask_HW.astype(bool, copy=False).tobytes(), mask_HW.shape[1]
    rows = slice(line.find(1) // width, line.rfind(1) // width + 1)
    line = mask_HW[rows].any(axis=0).tobytes()
    return rows, slice(line.find(1), line.rfind(1) + 1)


def fill(contours: Contours, moved_P2: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Fill moved contours: an object is what its outer contour holds and none of its holes.

    Args:
        contours: the contours, as they were found.
        moved_P2: where their points are now; each contour is closed to the last bit.
        shape: height and width of the mask.

    Returns:
        uint8, 1 in pixels whose centre lies inside an object, 0 elsewhere.
    """
    stride = shape[0] * shape[1] + 1
    toggles = _crossings(contours, moved_P2, shape)
    toggles.sort()
    if len(contours.starts_K) == 1:
        return paint_runs(toggles[::2], toggles[1::2], shape)
    # Within a contour crossings pair up into runs: inside begins at the first of each pair, ends at
    # the second.
    contour, pixel = np.divmod(toggles, stride)
    signs = np.where(contours.outer_K[contour], 1, -1)
    signs[1::2] *= -1
    # Outer contours add one, holes take one away: what is left above 0 is the object.
    keys = contours.object_K[contour] * stride + pixel
    order = np.argsort(keys, kind="stable")
    inside = np.cumsum(signs[order])[:-1] > 0
    pixel = pixel[order]
    return paint_runs(pixel[:-1][inside], pixel[1:][inside], shape)


def _crossings(contours, moved_P2, shape):
    """Find where contour edges cross the rows of pixel centres.

    Returns:
        Per crossing, contour * (H W + 1) + row * W + the first column whose centre is not left of
        the crossing.
    """
    height, width = shape
    y_P, x_P = moved_P2.T
    # Half open, so that a vertex on a row counts once and each row of a closed contour is crossed
    # evenly.
    row_P = np.minimum(np.maximum(np.ceil(y_P), 0), height).astype(np.intp)
    first = np.minimum(row_P[:-1], row_P[1:])
    stop = np.maximum(row_P[:-1], row_P[1:])
    # From a contour's last point no edge leads to the next one's first.
    last = contours.starts_K[1:] - 1
    stop[last] = first[last]
    edge = np.arange(len(first)).repeat(stop - first)
    row = ranges(first, stop)
    dy, dx = y_P[1:] - y_P[:-1], x_P[1:] - x_P[:-1]
    x = x_P[edge] + (row - y_P[edge]) * dx[edge] / dy[edge]
    column = np.minimum(np.maximum(np.ceil(x), 0), width).astype(np.intp)
    return contours.contour_P[edge] * (height * width + 1) + row * width + column


def paint_runs(starts: np.ndarray, stops: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a mask whose foreground is a union of half-open ranges of pixels in reading order."""
    painted = np.zeros(shape[0] * shape[1], dtype=np.uint8)
    painted[ranges(starts, stops)] = 1
    return painted.reshape(shape)


def ranges(starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Return the whole numbers of half-open ranges, range after range."""
    lengths = stops - starts
    ends = lengths.cumsum()
    return (starts - ends + lengths).repeat(lengths) + np.arange(ends[-1] if len(ends) else 0)
