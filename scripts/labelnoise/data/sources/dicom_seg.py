"""DICOM-SEG: binary segments, placed on an image's grid by the position of every frame.

Shape legend: I columns, J rows, K slices of the image; P pixels of a segment in a frame.
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import iter_pixels

from labelnoise.data.sources import Classes
from labelnoise.data.sources.dicom_headers import DAMAGED, damaged
from labelnoise.data.sources.dicom_series import lps_to_ras
from labelnoise.data.sources.label_values import class_of_value, ranges
from labelnoise.data.sources.volumes import TOLERANCE, Volume
from labelnoise.errors import InputError


def referenced_series(path: Path) -> set[str]:
    """Return the UIDs of the series that a DICOM-SEG file says it was drawn on.

    Raises:
        InputError: it names none, or cannot be read.
    """
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        found = {str(item.SeriesInstanceUID) for item in header.get("ReferencedSeriesSequence", ())}
    except DAMAGED as error:
        raise damaged(path, error) from None
    if not found:
        raise InputError(
            f"{path} does not name the series it was drawn on (ReferencedSeriesSequence), so it "
            "cannot be paired; export it again with its references, or give the label as NIfTI."
        )
    return found


def read_segmentation(
    path: Path,
    image: Volume,
    frame_uid: str,
    classes: Classes,
    ignore: Collection[int] = (),
    others: str = "refuse",
) -> np.ndarray:
    """Return the class indices of a DICOM-SEG on the grid of an image.

    Frames go to their own position, in any order; voxels without a frame are background. Where
    segments of several classes overlap, the highest class index wins.

    Args:
        image: the Volume that the segmentation was drawn on.
        frame_uid: its FrameOfReferenceUID, or "".
        classes: {name: segment numbers}; `ignore`: segment numbers that become background.
        others: what happens to segments that neither names: "refuse", or "background".

    Returns:
        labels_IJK uint8, in the memory order of the image.

    Raises:
        InputError: not a binary segmentation, an unknown segment, or a frame off the grid.
    """
    labels_IJK = np.zeros_like(image.array_IJK, np.uint8)
    class_of_segment = class_of_value(classes, ignore)
    try:
        dataset = pydicom.dcmread(path)
        _check(path, dataset, frame_uid)
        groups = dataset.PerFrameFunctionalGroupsSequence
        for group, pixels_JI in zip(groups, _frames(dataset), strict=True):
            if pixels_JI.any():
                index = _class(path, dataset, group, class_of_segment, others)
                voxels_3P = _voxels(path, dataset, group, pixels_JI, image)
                places = tuple(voxels_3P)
                labels_IJK[places] = np.maximum(labels_IJK[places], index)
    except InputError:
        raise
    except DAMAGED as error:
        raise damaged(path, error) from None
    return labels_IJK


def _check(path, dataset, frame_uid):
    if dataset.SegmentationType != "BINARY":
        raise InputError(
            f"{path} is a segmentation of type {dataset.SegmentationType}, expected BINARY; export "
            "it again as binary segments."
        )
    own = str(dataset.get("FrameOfReferenceUID") or "")
    if own and frame_uid and own != frame_uid:
        raise InputError(
            f"{path} has FrameOfReferenceUID {own}, but its series {frame_uid}, so their positions "
            "cannot be compared; give the segmentation of this series, or a NIfTI label."
        )


def _frames(dataset):
    """Return an iterable of frames (J, I), decoded one by one: whole-body files hold thousands."""
    shape = (dataset.Rows, dataset.Columns)
    packed = not dataset.file_meta.TransferSyntaxUID.is_encapsulated
    if packed and shape[0] * shape[1] % 8:
        # pydicom 3.0 cannot cut out a frame of single bits that does not end with a byte.
        return dataset.pixel_array.reshape(-1, *shape)
    return iter_pixels(dataset)


def _class(path, dataset, group, class_of_segment, others):
    number = _segment(dataset, group)
    if number in class_of_segment and number != 0:
        return class_of_segment[number]
    if others == "background":
        return 0
    names = {int(item.SegmentNumber): item.SegmentLabel for item in dataset.SegmentSequence}
    used = {_segment(dataset, each) for each in dataset.PerFrameFunctionalGroupsSequence}
    unknown = ", ".join(
        f"{each} ({names.get(each, 'without a label')})"
        for each in sorted(used - (set(class_of_segment) - {0}))
    )
    raise InputError(
        f"{path}: it holds segment {unknown}, expected only "
        f"{ranges(value for value in class_of_segment if value)}; add each to a class of "
        "`classes`, or to `ignore` to make it background, or set `others: background`, which makes "
        "all other segments that."
    )


def _segment(dataset, group):
    """Return the number of the segment that a frame is of."""
    return int(_find(dataset, group, "SegmentIdentificationSequence").ReferencedSegmentNumber)


def _voxels(path, dataset, group, pixels_JI, image):
    """Return the voxel indices (3, P) of the foreground pixels of a frame."""
    frame_affine, between = _frame_grid(dataset, group)
    to_image = np.linalg.inv(image.affine) @ frame_affine
    _check_steps(path, to_image, pixels_JI.shape)
    distance = np.abs(frame_affine[:3, 2] @ image.affine[:3, :3]).max()
    if between and abs(between - distance) > TOLERANCE * distance:
        # Each frame would find its slice, and the slices between them would look like background.
        raise _off_grid(path, to_image, f"{between:g} mm from the next, slices {distance:g} mm")
    rows, columns = np.nonzero(pixels_JI)
    voxels_3P = np.rint(to_image[:3, [0, 1]] @ np.stack([columns, rows]) + to_image[:3, 3:])
    highest_3 = np.array(image.array_IJK.shape)[:, None] - 1
    if ((voxels_3P < 0) | (voxels_3P > highest_3)).any():
        raise _off_grid(path, to_image, "outside the image")
    return voxels_3P.astype(np.intp)


def _check_steps(path, to_image, shape):
    """Refuse a frame whose pixels are not voxels of the image, in every corner of the frame."""
    steps = to_image[:3, [0, 1]]
    whole = np.rint(steps)
    if (np.abs(whole).sum(axis=0) != 1).any():
        raise _off_grid(path, to_image, "with other pixels than the image")
    rest = np.column_stack([steps - whole, to_image[:3, 3] - np.rint(to_image[:3, 3])])
    corners = np.array([[c, r, 1] for c in (0, shape[1] - 1) for r in (0, shape[0] - 1)])
    if np.abs(rest @ corners.T).max() > TOLERANCE:
        raise _off_grid(path, to_image, "between the voxels of the image")


def _off_grid(path, to_image, how):
    place = ", ".join(f"{value:.4g}" for value in to_image[:3, 3])
    return InputError(
        f"{path}: a frame lies {how} (its first pixel is at column, row, slice {place} of the "
        "image), expected frames on the grid of the series it refers to; draw or resample the "
        "segmentation on that series."
    )


def _frame_grid(dataset, group):
    """Return a frame's affine, whose third axis is the unit normal, and mm to the next or None."""
    measures = _find(dataset, group, "PixelMeasuresSequence")
    orientation = _find(dataset, group, "PlaneOrientationSequence").ImageOrientationPatient
    position = _find(dataset, group, "PlanePositionSequence").ImagePositionPatient
    orientation, position, spacing = (
        np.array(values, np.float64) for values in (orientation, position, measures.PixelSpacing)
    )
    normal = np.cross(orientation[:3], orientation[3:])
    affine = lps_to_ras(orientation, spacing, position, normal)
    return affine, measures.get("SpacingBetweenSlices")


def _find(dataset, group, name):
    """Return a functional group of a frame: its own, or the one that all frames share."""
    return (group if name in group else dataset.SharedFunctionalGroupsSequence[0])[name].value[0]
