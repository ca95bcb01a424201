"""Slices as they are stored: values windowed, padded to a square, resized.

Shape legend: S slices, H height, W width in pixels.
"""

import numpy as np
from scipy.sparse import csr_array


def apply_window(images: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Clip to the window (low, high) in source units and map it to [-1, 1], as float32."""
    low, high = window
    # In place after the first step: a whole scan at 512 x 512 is half a gigabyte.
    scaled = np.subtract(images, low, dtype=np.float32)
    scaled *= 2 / (high - low)
    scaled -= 1
    return np.clip(scaled, -1, 1, out=scaled)


def pad_to_square(stack_SHW: np.ndarray, value: float) -> np.ndarray:
    """Pad the shorter side on both ends, so that resizing keeps shapes; images with -1, labels 0.

    -1 is the window's minimum. An odd remainder goes to the end.
    """
    height, width = stack_SHW.shape[1:]
    side = max(height, width)
    rows, columns = side - height, side - width
    ends = ((0, 0), (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2))
    return np.pad(stack_SHW, ends, constant_values=value)


def resize_images(images_SHW: np.ndarray, size: int) -> np.ndarray:
    """Resize to size x size: the mean over the area of a new pixel, linear where the image grows.

    Area means do not alias, and keep the mean of the image. The result is float32.
    """
    rows, columns = (_resize_matrix(length, size) for length in images_SHW.shape[1:])
    resized = [_resize(image_HW, rows, columns) for image_HW in images_SHW]
    return np.array(resized, np.float32).reshape(-1, size, size)


def resize_labels(labels_SHW: np.ndarray, size: int, classes: int) -> np.ndarray:
    """Resize labels: each new pixel gets the class that covers most of its area.

    The shares are the resized maps of the classes, so labels follow images exactly. Unlike nearest
    neighbour this does not drop or keep thin structures by the chance of the grid. Equal shares go
    to the higher index, so foreground wins over background: at half size a line one pixel wide
    survives. A structure that covers less than half of every new pixel does vanish.
    """
    rows, columns = (_resize_matrix(length, size) for length in labels_SHW.shape[1:])
    resized_SHW = np.zeros((len(labels_SHW), size, size), np.uint8)
    for labels_HW, resized_HW in zip(labels_SHW, resized_SHW, strict=True):
        best_HW = np.full((size, size), -1.0)
        for index in range(classes):
            share_HW = _resize(labels_HW == index, rows, columns)
            wins_HW = share_HW > best_HW - 1e-9
            resized_HW[wins_HW], best_HW[wins_HW] = index, share_HW[wins_HW]
    return resized_SHW


def resize_spacing(
    spacing_3: np.ndarray | None, shape_HW: tuple[int, int], size: int | None
) -> np.ndarray:
    """Return the spacing of slices, rows and columns after `pad_to_square` and a resize.

    Padding keeps the size of a pixel; resizing scales both its sides alike.

    Args:
        spacing_3: in mm, or None where it is not known.
        shape_HW: height and width of the slices before both.
        size: pixels along each side afterwards, or None where slices stay as they are.

    Returns:
        (3,) float32, NaN where unknown.
    """
    if spacing_3 is None:
        return np.full(3, np.nan, np.float32)
    scale = max(shape_HW) / size if size else 1
    return (np.asarray(spacing_3) * [1, scale, scale]).astype(np.float32)


def _resize(image_HW, rows, columns):
    # Sparse products add in a fixed order; dense ones may differ with the number of threads.
    return (columns @ (rows @ image_HW.astype(np.float64)).T).T


def _resize_matrix(old, new):
    """Return the weights (new, old) of a resize along one axis; every row sums to 1."""
    if new <= old:
        # A new pixel covers old / new old ones; the weight is the shared length.
        starts, ends = np.arange(new) * old / new, (np.arange(new) + 1) * old / new
        low = np.maximum(starts[:, None], np.arange(old)[None])
        high = np.minimum(ends[:, None], np.arange(old)[None] + 1)
        return csr_array(np.clip(high - low, 0, None) * new / old)
    centre = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return csr_array(np.clip(1 - np.abs(centre[:, None] - np.arange(old)[None]), 0, None))
