"""Label errors of outlines, in mm: bias, translation, polygon and interpolated.

Each is a function of a binary volume, a severity, where random numbers come from and the slices
asked for. Any slice alone is what it is among others, severity 0 is the identity, and the input is
never changed. Structures that touch are nested volumes (`LabelVolume.union`): what moves them alike
is drawn without a look at their masks.

Shape legend: Z slices of a volume, n slices asked for, H height, W width, K contours, P contour
points.
"""

from collections.abc import Sequence

import numpy as np

from labelnoise.errors import InputError
from labelnoise.labels.contours import Contours, bounding_box, fill, find_contours, ranges
from labelnoise.labels.volume import MARGIN, SUPPORT, Draw, Volume, sub_pixel


def bias(
    volume: Volume, severity: float, draw: Draw, wanted: Sequence[int], *, sign: int
) -> np.ndarray:
    """Move every outline by one distance: the mask grows, or shrinks.

    The distance is Euclidean, in 3-D where there are several slices, see `sub_pixel`. A larger
    severity holds the mask of a smaller one, or lies in it. Nothing is drawn.

    Args:
        volume: the binary volume.
        severity: mm, at least 0.
        draw: not used.
        wanted: positions of slices in the volume.
        sign: 1 grows, -1 shrinks.

    Returns:
        bool (n, H, W), the slices asked for.
    """
    moved_nHW = volume.mask_ZHW[list(wanted)]
    if severity == 0 or volume.box is None:
        return moved_nHW
    plane = volume.spacing_3[1:]
    reach = severity + MARGIN * max(plane)
    box, distance = volume.signed_distance(reach)
    for moved_HW, position in zip(moved_nHW, wanted, strict=True):
        if box[0].start <= position < box[0].stop:
            smooth_HW = sub_pixel(distance[position - box[0].start], plane)
            moved_HW[box[1:]] = smooth_HW <= sign * severity
    return moved_nHW


def translation(volume: Volume, severity: float, draw: Draw, wanted: Sequence[int]) -> np.ndarray:
    """Move all labels of a case in the plane, in one direction drawn for the case.

    They move by whole pixels along rows and along columns, each rounded up or down by chance so
    that the mean is exact: label Dice averaged over cases falls without steps. A larger severity
    never moves less. What moves in from outside the slice is background.

    Args:
        volume: the binary volume.
        severity: mm, at least 0.
        draw: whose case decides on direction and rounding.
        wanted: positions of slices in the volume.

    Returns:
        bool (n, H, W), the slices asked for.
    """
    angle, *rounding_2 = draw.of_case().random(3)
    direction_2 = np.sin(2 * np.pi * angle), np.cos(2 * np.pi * angle)
    pixels_2 = severity * np.array(direction_2) / volume.spacing_3[1:]
    shape_2 = volume.mask_ZHW.shape[1:]
    down, right = np.clip(np.floor(pixels_2 + rounding_2), np.negative(shape_2), shape_2)
    moved_nHW = np.zeros((len(wanted), *shape_2), bool)
    (rows_to, rows), (columns_to, columns) = _overlap(int(down)), _overlap(int(right))
    moved_nHW[:, rows_to, columns_to] = volume.mask_ZHW[list(wanted)][:, rows, columns]
    return moved_nHW


def _overlap(shift):
    """Return where what stays in the slice goes to, and where it comes from."""
    if shift >= 0:
        return slice(shift, None), slice(0, -shift or None)
    return slice(0, shift), slice(-shift, None)


def polygon(
    volume: Volume,
    severity: float,
    draw: Draw,
    wanted: Sequence[int],
    *,
    clicks: int | None,
) -> np.ndarray:
    """Join corners of each contour of each slice by straight lines, as clicks with a mouse are.

    Corners lie on the contour half way between foreground and background. Without `clicks` they
    are those of Ramer (1972) and of Douglas and Peucker (1973): no point of the contour is further
    than a tolerance from its side of the polygon. Two points that are far apart halve the contour,
    and both halves have a corner at least, lest small objects vanish; the corners at a larger
    tolerance are among those at a smaller one. With
    `clicks` corners are equally far apart along the contour, from a point drawn for each contour
    and slice. Holes are contours too and are cut out of their object. Corners on the outline make
    convex objects smaller.

    Args:
        volume: the binary volume.
        severity: the tolerance in mm, at least 0; with `clicks` the share of the way of every
            point of the contour to its place on the polygon, from 0 to 1, above which is 1.
        draw: decides on the first corner of clicks.
        wanted: positions of slices in the volume.
        clicks: corners of each contour, at least 3; None for a tolerance.

    Returns:
        bool (n, H, W), the slices asked for.
    """
    polygon_nHW = volume.mask_ZHW[list(wanted)]
    if severity == 0:
        return polygon_nHW
    plane = volume.spacing_3[1:]
    for polygon_HW, position in zip(polygon_nHW, wanted, strict=True):
        if not polygon_HW.any():
            continue
        contours = find_contours(polygon_HW)
        if clicks is None:
            contours = _begun(contours, _furthest(contours, plane))
            moved = _choose(contours, _corners(contours, plane, severity))
        else:
            phase_K = draw.of_slice(position).random(len(contours.starts_K))
            moved = _clicked(contours, plane, min(severity, 1), clicks, phase_K)
        polygon_HW[:] = fill(moved, moved.points_P2, polygon_HW.shape)
    return polygon_nHW


def _begun(contours, first_K):
    """Return the contours begun at other points, given by their indices."""
    points_P2, starts_K, contour_P, _, _ = contours
    turn_P = np.arange(len(points_P2)) - (2 * starts_K - first_K)[contour_P]
    period_P = (_ends(contours) - starts_K)[contour_P]  # the last point is the first
    return contours._replace(points_P2=points_P2[starts_K[contour_P] + turn_P % period_P])


def _furthest(contours, spacing_2):
    """Return the index of each contour's point that is furthest from its first, in mm."""
    points_P2, starts_K, contour_P, _, _ = contours
    from_start_P2 = (points_P2 - points_P2[starts_K][contour_P]) * spacing_2
    return _first_largest(np.hypot(*from_start_P2.T), starts_K, contour_P)


def _corners(contours, spacing_2, tolerance):
    """Return which points are corners within a tolerance in mm, of all contours at once (P)."""
    points_P2 = contours.points_P2 * spacing_2
    starts_K, middles_K, ends_K = contours.starts_K, _furthest(contours, spacing_2), _ends(contours)
    is_corner_P = np.zeros(len(points_P2), bool)
    is_corner_P[np.concatenate([starts_K, middles_K, ends_K])] = True
    low, high = np.concatenate([starts_K, middles_K]), np.concatenate([middles_K, ends_K])
    limit = -1.0
    # Each turn splits the chains between neighbouring corners where they stray furthest.
    while True:
        inner = high - low > 1
        low, high = low[inner], high[inner]
        if not len(low):
            return is_corner_P
        counts = high - low - 1
        point, chain = ranges(low + 1, high), np.repeat(np.arange(len(low)), counts)
        strayed = _distance_to_segment(
            points_P2[point], points_P2[low][chain], points_P2[high][chain]
        )
        furthest = _first_largest(strayed, np.cumsum(counts) - counts, chain)
        is_split = strayed[furthest] > limit
        middle = point[furthest][is_split]
        is_corner_P[middle] = True
        low = np.concatenate([low[is_split], middle])
        high = np.concatenate([middle, high[is_split]])
        limit = tolerance


def _distance_to_segment(points_P2, from_P2, to_P2):
    along_P2, offset_P2 = to_P2 - from_P2, points_P2 - from_P2
    length_P = np.maximum((along_P2**2).sum(axis=1), 1e-12)
    t_P = np.clip((offset_P2 * along_P2).sum(axis=1) / length_P, 0, 1)
    return np.hypot(*(offset_P2 - t_P[:, None] * along_P2).T)


def _first_largest(values_P, starts_K, group_P):
    """Return the index of the first of the largest values of each group of neighbours."""
    is_largest_P = values_P == np.maximum.reduceat(values_P, starts_K)[group_P]
    largest = np.flatnonzero(is_largest_P)
    return largest[np.searchsorted(group_P[largest], np.arange(len(starts_K)))]


def _choose(contours, is_kept_P):
    """Return contours of some of their points, their first and last among them."""
    before_P = np.cumsum(is_kept_P) - is_kept_P
    return contours._replace(
        points_P2=contours.points_P2[is_kept_P],
        starts_K=before_P[contours.starts_K],
        contour_P=contours.contour_P[is_kept_P],
    )


def _clicked(contours, spacing_2, share, clicks, phase_K):
    """Return contours on their way to polygons of as many corners, see `polygon`."""
    points_P2, starts_K, contour_P, object_K, outer_K = contours
    steps_P2 = np.diff(points_P2, axis=0, prepend=points_P2[:1]) * spacing_2
    walked_P = np.cumsum(np.hypot(*steps_P2.T))
    walked_P -= walked_P[starts_K][contour_P]
    # A number line for all contours: contour k runs from 3 k to 3 k + 1, and a corner before and
    # one behind close its polygon.
    line_P = 3 * contour_P + walked_P / walked_P[_ends(contours)][contour_P]
    origin_K = 3 * np.arange(len(starts_K))
    turns_KC = (phase_K[:, None] + np.arange(-1, clicks + 1)) / clicks
    corners_KC2 = _along(origin_K[:, None] + turns_KC % 1, line_P, points_P2)
    # Corners are points of the contour too, for the polygon to have them when it is reached.
    line_Q = np.concatenate([line_P, (origin_K[:, None] + turns_KC[:, 1:-1]).ravel()])
    line_Q.sort()
    at_Q2 = _along(line_Q, line_P, points_P2)
    lines_KC = origin_K[:, None] + turns_KC
    to_Q2 = _along(line_Q, lines_KC.ravel(), corners_KC2.reshape(-1, 2))
    moved_Q2 = at_Q2 + share * (to_Q2 - at_Q2)
    starts_K = starts_K + clicks * np.arange(len(starts_K))
    contour_Q = np.repeat(np.arange(len(starts_K)), np.diff(starts_K, append=len(line_Q)))
    moved = Contours(moved_Q2, starts_K, contour_Q, object_K, outer_K)
    moved_Q2[_ends(moved)] = moved_Q2[starts_K]  # closed to the last bit, or filling would leak
    return moved


def _along(at, line_P, points_P2):
    """Return points at places on a line (..., 2), between those whose places are given."""
    return np.stack([np.interp(at, line_P, axis_P) for axis_P in points_P2.T], axis=-1)


def _ends(contours):
    """Return the index of each contour's last point."""
    return np.append(contours.starts_K[1:], len(contours.points_P2)) - 1


def interpolated(volume: Volume, severity: float, draw: Draw, wanted: Sequence[int]) -> np.ndarray:
    """Outline some slices only, and interpolate the shape of each object between them.

    Outlined are slices 1 + severity apart, rounded to whole ones, from one drawn for the volume on
    (all structures share them), and the first and last slice of every connected object. Between
    two of them an object is where the weighted mean of their signed distances in the plane is not
    above 0: shape-based interpolation, Raya and Udupa, "Shape-based interpolation of
    multidimensional objects", 1990, with the Euclidean distances of `sub_pixel`.

    Args:
        volume: the binary volume.
        severity: slices left out between two that are outlined, on average; at least 0.
        draw: whose volume decides on the slices that are outlined.
        wanted: positions of slices in the volume.

    Returns:
        bool (n, H, W), the slices asked for.

    Raises:
        InputError: the volume is one slice of unknown distance to others; where that is known, the
            slice is outlined.
    """
    drawn_nHW = volume.mask_ZHW[list(wanted)]
    if severity == 0:
        return drawn_nHW
    if len(volume) == 1 and np.isnan(volume.spacing_3[0]):
        raise InputError(
            "interpolated: the slices of this case are not consecutive or have no spacing, so that "
            "none lies between others; choose another kind, or a source of volumes with `select: "
            "all`."
        )
    outlined = _outlined(len(volume), severity, draw)
    parts = []
    for number, (slices, *sides) in enumerate(volume.object_boxes, start=1):
        rows, columns = (slice(max(side.start - SUPPORT, 0), side.stop + SUPPORT) for side in sides)
        labels_ZHW = volume.objects.labels_ZHW[:, rows, columns]
        within = (outlined > slices.start) & (outlined < slices.stop - 1)
        keys = np.array([slices.start, *outlined[within], slices.stop - 1])
        for drawn_HW, position in zip(drawn_nHW[:, rows, columns], wanted, strict=True):
            if not slices.start <= position < slices.stop or position in keys:
                continue
            after = int(np.searchsorted(keys, position))
            before, behind = keys[after - 1], keys[after]
            part_HW = _between(
                labels_ZHW[before] == number,
                labels_ZHW[behind] == number,
                (position - before) / (behind - before),
                volume.spacing_3[1:],
            )
            drawn_HW[labels_ZHW[position] == number] = False
            parts.append((drawn_HW, part_HW))
    for drawn_HW, part_HW in parts:  # when no object is taken away any more
        drawn_HW |= part_HW
    return drawn_nHW


def _outlined(length, severity, draw):
    """Return the positions of slices that are outlined, in order."""
    rng = draw.of_volume()
    # One slice stays outlined at all severities: those near it move little as severity grows.
    fixed, phase = rng.integers(length), rng.random()
    steps = np.arange(-np.ceil(length / (1 + severity)) - 1, np.ceil(length / (1 + severity)) + 2)
    positions = fixed + np.floor(phase + steps * (1 + severity))
    return positions[(positions >= 0) & (positions < length)].astype(int)


def _between(first_HW, second_HW, weight, spacing_2):
    """Return the shape at a weight, between 0 and 1, of the second of two masks with foreground."""
    inside_HW = np.zeros_like(first_HW)
    # No mean is below 0 outside of this box.
    rows, columns = (
        slice(max(side.start - SUPPORT, 0), side.stop + SUPPORT)
        for side in bounding_box(first_HW | second_HW)
    )
    distances = (_plane_distance(mask[rows, columns], spacing_2) for mask in (first_HW, second_HW))
    inside_HW[rows, columns] = np.average([*distances], axis=0, weights=[1 - weight, weight]) <= 0
    return inside_HW


def _plane_distance(mask_HW, spacing_2):
    """Return the signed distances of a mask with foreground, in all of its slice."""
    everywhere = max(mask_HW.shape) * max(spacing_2)
    _, distance_1HW = Volume(mask_HW[None], (np.nan, *spacing_2)).signed_distance(everywhere)
    return sub_pixel(distance_1HW[0], spacing_2)
