"""Labels that several annotators come to together.

Shape legend: A annotators, n slices, H height, W width.
"""

import numpy as np
from numpy.typing import ArrayLike

RULES = ("majority", "mean", "staple")


def merge(labels_AnHW: np.ndarray, by: str, spacing_n2: ArrayLike = (1.0, 1.0)) -> np.ndarray:
    """Return one label map for the several that annotators made of each slice.

    `majority`: the class that most annotators chose; of equally many the lowest index, background
    before any structure, so that two annotators mean where both agree.
    `mean`: the class whose outlines' signed distance, averaged over annotators, is the lowest: the
    outline half way between two (shape-based averaging, Rohlfing and Maurer, IEEE Transactions on
    Information Technology in Biomedicine 11, 2007, section II). Distances are those within the
    slice, of pixel centres from the closest one on the other side, less half of the finer pixel
    side; where an annotator has none or nothing else than a class, the slice's diagonal.
    `staple`: the most probable class, where each annotator has an accuracy, estimated from the
    slice (STAPLE, Warfield, Zou and Wells, IEEE Transactions on Medical Imaging 23, 2004), by
    SimpleITK; undecided pixels are background.

    Args:
        labels_AnHW: class indices, uint8, at least one annotator.
        by: one of RULES.
        spacing_n2: distance of rows and columns of each slice, or of all, in any unit; `mean` alone
            looks at it.

    Returns:
        (n, H, W) uint8. One annotator's labels come back as they are, as do equal ones.

    Raises:
        ValueError: there is no such rule.
    """
    if by not in RULES:
        raise ValueError(f"rule {by!r} is none of {', '.join(RULES)}")
    first_nHW = labels_AnHW[0]
    spacing_n2 = np.broadcast_to(spacing_n2, (len(first_nHW), 2))
    merged_nHW = first_nHW.copy()
    differ_n = (labels_AnHW != first_nHW).any(axis=(0, 2, 3))
    for at in np.flatnonzero(differ_n):
        labels_AHW = labels_AnHW[:, at]
        if by == "majority":
            merged_nHW[at] = _majority(labels_AHW)
        elif by == "mean":
            merged_nHW[at] = _mean(labels_AHW, spacing_n2[at])
        else:
            merged_nHW[at] = _staple(labels_AHW)
    return merged_nHW


def _majority(labels_AHW):
    classes = np.unique(labels_AHW)
    votes_CHW = np.stack([(labels_AHW == index).sum(axis=0) for index in classes])
    return classes[votes_CHW.argmax(axis=0)]  # of equal ones the first


def _mean(labels_AHW, spacing_2):
    classes = np.unique(labels_AHW)
    # Whole numbers of thousandths of a pixel, or distances that are equal would differ by rounding.
    scale = 1000 / min(spacing_2)
    distance_CHW = np.stack(
        [
            sum(
                np.rint(scale * _signed_distance(labels_HW == index, spacing_2))
                for labels_HW in labels_AHW
            )
            for index in classes
        ]
    )
    return classes[distance_CHW.argmin(axis=0)]


def _signed_distance(mask_HW, spacing_2):
    from scipy.ndimage import distance_transform_edt  # here, since every training imports this

    if mask_HW.all() or not mask_HW.any():
        diagonal = np.hypot(*np.multiply(mask_HW.shape, spacing_2))
        return np.full(mask_HW.shape, -diagonal if mask_HW.all() else diagonal)
    half = min(spacing_2) / 2
    inside_HW, outside_HW = (
        distance_transform_edt(side_HW, spacing_2) for side_HW in (mask_HW, ~mask_HW)
    )
    return np.where(mask_HW, half - inside_HW, outside_HW - half)


def _staple(labels_AHW):
    import SimpleITK  # an extra

    classes = np.unique(labels_AHW)
    # Its labels are 0, 1, 2 ... and one more for undecided pixels.
    places_AHW = np.searchsorted(classes, labels_AHW).astype(np.uint8)
    merger = SimpleITK.MultiLabelSTAPLEImageFilter()
    merger.SetLabelForUndecidedPixels(0)
    merged = merger.Execute([SimpleITK.GetImageFromArray(places_HW) for places_HW in places_AHW])
    return classes[SimpleITK.GetArrayFromImage(merged)]
