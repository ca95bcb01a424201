"""Plain loop implementations of the label errors, obviously right, for tests and benchmarks.

They share no code with `labelnoise.labels.perturbations`, but ask the generator for their normal
draws in the same order, so that natural and choppy can be compared pixel by pixel. Masks are
binary, uint8 (H height, W width).
"""

import math
from itertools import pairwise

import numpy as np
from contourpy import FillType, contour_generator
from scipy.interpolate import CubicSpline


def natural(mask_HW, severity, rng):
    """Displace every contour along its rays, then test every row against every contour."""
    height, width = mask_HW.shape
    out_HW = np.zeros_like(mask_HW)
    for contours in _objects(mask_HW):
        outer, *holes = [_displaced(contour, severity, rng) for contour in contours]
        for row in range(height):
            for column in _columns_inside(outer, row, width):
                out_HW[row, column] |= 2  # inside this object, unless a hole says otherwise
            for hole in holes:
                for column in _columns_inside(hole, row, width):
                    out_HW[row, column] &= 1
        out_HW[out_HW > 0] = 1
    return out_HW


def distance_to_contours(mask_HW, severity, rng):
    """Distance in pixels of every pixel's centre to the nearest of the displaced contours."""
    rows, columns = np.indices(mask_HW.shape)
    nearest_HW = np.full(mask_HW.shape, np.inf)
    for contour in (each for contours in _objects(mask_HW) for each in contours):
        for (x0, y0), (x1, y1) in pairwise(_displaced(contour, severity, rng)):
            length = math.hypot(x1 - x0, y1 - y0)
            t = 0.0
            if length > 1e-12:
                along = (columns - x0) * (x1 - x0) + (rows - y0) * (y1 - y0)
                t = np.clip(along / length**2, 0, 1)
            distance = np.hypot(columns - x0 - t * (x1 - x0), rows - y0 - t * (y1 - y0))
            nearest_HW = np.minimum(nearest_HW, distance)
    return nearest_HW


def _objects(mask_HW):
    """Lists of closed contours [(x, y), ...]: an object's outer contour, then its holes."""
    padded_HW = np.pad(mask_HW, 1).astype(float)
    generator = contour_generator(z=padded_HW, fill_type=FillType.OuterOffset)
    objects = []
    for points, offsets in zip(*generator.filled(0.5, 2), strict=True):
        pieces = [points[a:b] for a, b in pairwise(offsets)]
        objects.append([[(float(x) - 1, float(y) - 1) for x, y in piece] for piece in pieces])
    return objects


def _displaced(contour, severity, rng):
    draws = [rng.normal(0, severity) for _ in range(5)]
    curve = CubicSpline(range(6), [*draws, draws[0]], bc_type="periodic")
    walked = [0.0]
    for (x0, y0), (x1, y1) in pairwise(contour):
        walked.append(walked[-1] + math.hypot(x1 - x0, y1 - y0))
    shifts = curve(np.array(walked) * 5 / walked[-1]).tolist()
    centre_x = (min(x for x, y in contour) + max(x for x, y in contour)) / 2
    centre_y = (min(y for x, y in contour) + max(y for x, y in contour)) / 2
    moved = []
    for (x, y), shift in zip(contour[:-1], shifts[:-1], strict=True):
        length = math.hypot(x - centre_x, y - centre_y)
        if length > 0:
            shift = max(-length, min(length, shift))
            x, y = x + (x - centre_x) * shift / length, y + (y - centre_y) * shift / length
        moved.append((x, y))
    return [*moved, moved[0]]


def _columns_inside(contour, row, width):
    """Columns whose pixel centre has an odd number of contour edges to its left, or on it."""
    crossings = []
    for (x0, y0), (x1, y1) in pairwise(contour):
        if (y0 <= row) != (y1 <= row):
            crossings.append(x0 + (row - y0) * (x1 - x0) / (y1 - y0))
    crossings.sort()
    columns = []
    for begin, end in zip(crossings[::2], crossings[1::2], strict=True):
        columns.extend(range(max(math.ceil(begin), 0), min(math.ceil(end), width)))
    return columns


def choppy(mask_HW, severity, rng):
    """Walk along every row, pixel by pixel; draw both offsets where a run ends."""
    width = mask_HW.shape[1]
    out_HW = np.zeros_like(mask_HW)
    for row, pixels in enumerate(mask_HW.tolist()):
        begin = None
        for column, pixel in enumerate([*pixels, 0]):
            if pixel and begin is None:
                begin = column
            if not pixel and begin is not None:
                moved_begin = begin + round(rng.normal(0, severity))
                moved_end = column + round(rng.normal(0, severity))
                for moved in range(max(moved_begin, 0), min(moved_end, width)):
                    out_HW[row, moved] = 1
                begin = None
    return out_HW


def random(mask_HW, severity, rng, foreground_fraction):
    """Ask every pixel in turn whether it flips."""
    background_rate = severity * foreground_fraction / (1 - foreground_fraction)
    out_HW = mask_HW.copy()
    for row, pixels in enumerate(mask_HW.tolist()):
        for column, pixel in enumerate(pixels):
            if rng.random() < (severity if pixel else background_rate):
                out_HW[row, column] = 1 - pixel
    return out_HW


def surface_distance(reference_HW, perturbed_HW):
    """Mean distance between boundary pixels, both directions together, by trying all pairs."""
    a, b = _boundary(reference_HW), _boundary(perturbed_HW)
    distances = [min(math.dist(p, q) for q in b) for p in a]
    distances += [min(math.dist(p, q) for p in a) for q in b]
    return sum(distances) / len(distances)


def _boundary(mask_HW):
    height, width = mask_HW.shape
    found = []
    for row in range(height):
        for column in range(width):
            around = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
            enclosed = all(
                0 <= r < height and 0 <= c < width and mask_HW[r, c] == 1 for r, c in around
            )
            if mask_HW[row, column] == 1 and not enclosed:
                found.append((row, column))
    return found
