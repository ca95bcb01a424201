"""Label errors as people make them: a thick or thin hand, and an outline that wanders.

Shape legend: n slices asked for, H height, W width, h and w those of a box, O objects.
"""

from collections.abc import Sequence

import numpy as np

from labelnoise.labels.contours import bounding_box
from labelnoise.labels.fields import random_field
from labelnoise.labels.volume import MARGIN, Draw, Volume

RADIUS = 5.0  # mm, of the object for which severity is the displacement

# Standard deviations at which displacements end, so that distances are needed near an object alone.
MOST = 3.0


def rater(
    volume: Volume,
    severity: float,
    draw: Draw,
    wanted: Sequence[int],
    *,
    bias_share: float,
    mean: float,
    length: float,
    length_z: float,
    gamma: float,
    smoothness: float,
    across: float,
    spread: float,
) -> np.ndarray:
    """Move outlines as a person's outline of the same object differs from what it should be.

    A voxel is foreground where its signed distance from the outline, in mm, is at most the
    displacement there: a constant of the object, N(mean severity, bias_share severity^2), plus a
    stationary Gaussian field of variance (1 - bias_share) severity^2, both times (radius of the
    object / 5 mm)^gamma. So are the lengths of the field, by the largest object: people's errors
    look alike on objects of all sizes. Islands and holes that the field makes beside the outline
    are left out. Outside, the nearest object counts. The field belongs to
    the slice and the constant to the object's number in reading order, so that several structures
    of a volume move by one warp; slices of a case that do not follow on each other share the
    constant, as one person outlines them.

    Args:
        volume: the mask; distances are 3-D where it has several slices.
        severity: mm, standard deviation of the displacement for an object of 5 mm radius.
        draw: source of the random numbers.
        wanted: positions of the slices to return.
        bias_share: share of the variance that is constant over an object, in [0, 1].
        mean: mean of that constant in units of severity; above 0 labels are too large.
        length: mm in the plane at which the field's correlation is 1 / e, above 0, for an object of
            5 mm radius.
        length_z: mm across slices at which it is, at least 0.
        gamma: exponent of the object's radius.
        smoothness: p of the correlation exp(-(distance / length)^p) in the plane, in (0, 2].
        across: how many times as far outlines move across slices as in the plane, above 0.
        spread: standard deviation of the logarithm of a factor of severity, drawn for a case: some
            people take more care than others.

    Returns:
        (n, H, W) bool, new.
    """
    mask_ZHW = volume.mask_ZHW
    wrong_nHW = mask_ZHW[list(wanted)]  # a list makes it a copy
    if severity == 0 or volume.box is None or mask_ZHW.all():
        return wrong_nHW
    care = np.exp(spread * draw.of_case(1).standard_normal())
    size_O = (volume.objects.radius_O / RADIUS) ** gamma
    scale_O = severity * care * size_O
    normal_O = draw.of_case().standard_normal(len(scale_O)).clip(-MOST, MOST)
    offset_O = scale_O * (mean + np.sqrt(bias_share) * normal_O)
    spread_O = scale_O * np.sqrt(1 - bias_share)
    reach = (np.abs(offset_O) + MOST * spread_O).max()
    reach += MARGIN * max(volume.spacing_3[1:])  # what is compared is the same in any box
    near = volume.squeezed(across)
    box, distance = near.sub_pixel_distance(reach)
    nearest = near.nearest_object(reach)
    slices, rows, columns = box
    inside = [at for at, each in enumerate(wanted) if slices.start <= each < slices.stop]
    positions = [wanted[at] for at in inside]
    fields = random_field(
        volume,
        draw,
        positions,
        box,
        length=length * size_O.max(),
        length_z=length_z * size_O.max(),
        smoothness=smoothness,
    )
    offset_O, spread_O = offset_O.astype(np.float32), spread_O.astype(np.float32)
    for at, position, field_hw in zip(inside, positions, fields, strict=True):
        object_hw = nearest[position - slices.start] if len(size_O) > 1 else 0
        moved_hw = offset_O[object_hw] + spread_O[object_hw] * field_hw.clip(-MOST, MOST)
        moved_hw = distance[position - slices.start] <= moved_hw
        mask_hw = mask_ZHW[position, rows, columns]
        wrong_nHW[at, rows, columns] = (
            _of_one_line(moved_hw, mask_hw) if mask_hw.any() else moved_hw
        )
    return wrong_nHW


def _of_one_line(moved_hw, mask_hw):
    """Return a mask without islands and holes that a rough field makes and no pen does.

    Islands are parts that touch no object, holes parts of the background that touch none.

    Args:
        moved_hw: bool.
        mask_hw: the mask that it was.
    """
    from scipy import ndimage  # here, since every training and test imports this module

    one_hw = np.zeros_like(moved_hw)
    box = tuple(
        slice(max(side.start - 1, 0), side.stop + 1) for side in bounding_box(moved_hw | mask_hw)
    )
    moved_hw, mask_hw = moved_hw[box], mask_hw[box]
    parts_hw, number = ndimage.label(moved_hw, np.ones((3, 3)))
    kept = np.zeros(number + 1, bool)
    kept[parts_hw[mask_hw]] = True
    kept[0] = False
    gaps_hw, number = ndimage.label(~moved_hw)
    is_open = np.zeros(number + 1, bool)
    is_open[gaps_hw[~mask_hw]] = True
    is_open[0] = False
    one_hw[box] = kept.take(parts_hw) | ~(moved_hw | is_open.take(gaps_hw))
    return one_hw
