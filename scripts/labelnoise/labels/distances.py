"""Euclidean distances between the two sides of masks, up to a reach.

Shape legend: Z slices, H height, W width.
"""

from collections.abc import Sequence

import numpy as np

BLOCK_BYTES = 2**18  # of lines that are worked on at once, for them to stay in the cache


def to_other_side(
    labels_ZHW: np.ndarray, objects: int, spacing_3: Sequence[float], reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each voxel is from the nearest on the other side, and whose that one is.

    Along columns distances spread by 1, 2, 4 ... voxels; then their squares spread along rows and
    across slices, a voxel at a time and by 1, 3, 5 ... more, which sum up to squares. On a line
    nothing that comes from behind a voxel of the other side is nearer than that voxel, so that one
    pass serves both sides. The time grows with the reach; of some dozen voxels it is a small part
    of that of a transform without one.

    Args:
        labels_ZHW: 0 outside, in objects their numbers, from 1.
        objects: how many there are.
        spacing_3: mm, finite.
        reach: mm, above 0.

    Returns:
        (mm, float32, at least `reach` where they are more than that; outside the number of the
        nearest object, int32, 1 where none is within reach).
    """
    steps_3 = [
        min(int(reach / side), voxels - 1)
        for side, voxels in zip(spacing_3, labels_ZHW.shape, strict=True)
    ]
    squares_3, most, one, dtype = _units(spacing_3, steps_3, objects, reach)
    labels = np.moveaxis(labels_ZHW if one else labels_ZHW > 0, 0, -1)
    count = np.full(labels.shape, reach // spacing_3[1] + 1 + one, dtype)
    doubled = [2**power for power in range(steps_3[1].bit_length())]
    _spread(count, labels, [(by, by) for by in (*doubled[:1], *doubled)], one)
    whole = np.floor(count) if one else count
    squared = np.minimum(whole * whole * squares_3[1] + (count - whole), most, dtype=dtype)
    for axis in (2, 0):  # in the end all axes are where they were
        squared = np.ascontiguousarray(np.moveaxis(squared, 0, -1))
        labels = np.moveaxis(labels, 0, -1)
        odds = range(1, 2 * steps_3[axis] + 1, 2)
        _spread(squared, labels, [(1, odd * squares_3[axis]) for odd in odds], one)
    row = np.float32(spacing_3[1])
    if objects == 1:
        return np.sqrt(squared) * row, np.broadcast_to(np.int32(1), squared.shape)
    whole = np.floor(squared)
    nearest = ((squared - whole) / one).astype(np.int32)
    return np.sqrt((whole / squares_3[1]).astype(np.float32)) * row, nearest


def _units(spacing_3, steps_3, objects, reach):
    """Return what squares of distances are counted in.

    Returns:
        (square of the distance of slices, rows and columns; square of the reach, or a little more;
        what the number of the nearest object is multiplied by to stand behind the whole numbers
        that squares then are, 0 for one object; the type that holds it all).
    """
    row = float(spacing_3[1])
    squares_3, most = [(side / row) ** 2 for side in spacing_3], (reach / row) ** 2
    is_whole = not any(
        steps and square % 1 for square, steps in zip(squares_3, steps_3, strict=True)
    )
    if objects == 1 and is_whole and most < 2**12:
        return [int(square) for square in squares_3], int(most) + 1, 0, np.int16
    if objects == 1:
        return squares_3, most, 0, np.float32
    one = 2.0 ** -objects.bit_length()
    if is_whole and most / one < 2**21:
        return squares_3, np.ceil(most) + one, one, np.float32
    # One scale for any reach, unless numbers get too long: ties are decided alike.
    scale = min(2**24 / min(squares_3), one * 2**50 / most)
    scaled_3 = [float(round(square * scale)) for square in squares_3]
    return scaled_3, np.ceil(most * scale) + one, one, np.float64


def _spread(values, labels, added, one):
    """Lower values along the first axis to those some voxels away and some more.

    Args:
        values: of voxels, contiguous; changed.
        labels: 0 outside, above 0 in objects.
        added: what is done one after the other: (how many voxels away, how much more). Next to the
            other side values are what is added first, and the label there times `one`.
        one: see `added`.
    """
    if not added:
        return
    lines, labels = values.reshape(len(values), -1), labels.reshape(len(labels), -1)
    furthest = values.max()
    width = max(BLOCK_BYTES // lines[:, :1].nbytes, 1)
    for start in range(0, lines.shape[1], width):
        block = lines[:, start : start + width].copy()
        before, after = labels[:-1, start : start + width], labels[1:, start : start + width]
        beside = block.dtype.type(added[0][1])
        if one:
            beside = beside + np.multiply(np.maximum(before, after), one, dtype=block.dtype)
        across = (before > 0) != (after > 0) if one else before != after
        beside = np.where(across, beside, furthest)
        further = np.empty_like(block)
        for by, more in added:
            np.add(block, more, out=further)
            np.minimum(block[:-by], further[by:], out=block[:-by])
            np.minimum(block[by:], further[:-by], out=block[by:])
            if beside is not None:
                np.minimum(block[:-1], beside, out=block[:-1])
                np.minimum(block[1:], beside, out=block[1:])
                beside = None
        lines[:, start : start + width] = block
