"""Objects that several people outlined, made up: ellipsoids, and folders of their masks."""

import nibabel
import numpy as np

from labelnoise.labels.raters.simulation import hand_of
from labelnoise.labels.raters.statistics import Outlined
from labelnoise.labels.volume import Draw, LabelVolume

SPACING = (2.0, 0.8, 0.8)
# What made-up people are like.
KNOWN = {
    "severity": 0.6,
    "bias_share": 0.3,
    "mean": 0.0,
    "length": 3.0,
    "length_z": 2.0,
    "gamma": 0.4,
    "smoothness": 1.2,
    "across": 1.4,
    "spread": 0.2,
}


def ellipsoid(radius, stretch=1.0, room=4.0):
    """A mask with `room` mm around an ellipsoid, its rows stretched, its columns shrunk."""
    axes = np.array([radius, radius * stretch, radius / stretch])
    sizes = [2 * int(np.ceil((r + room) / side)) + 1 for r, side in zip(axes, SPACING, strict=True)]
    centres = [(np.arange(n) - n // 2) * side for n, side in zip(sizes, SPACING, strict=True)]
    z, y, x = np.meshgrid(*centres, indexing="ij")
    return np.sqrt((z / axes[0]) ** 2 + (y / axes[1]) ** 2 + (x / axes[2]) ** 2) < 1


def outlined(number, hand=None, raters=3, seed=1):
    """Objects outlined by people whose hand is known."""
    hand = hand or hand_of(KNOWN)
    found = []
    for place in range(number):
        truth_ZHW = ellipsoid(4 + 5 * place / number, 1 + 0.1 * (place % 3))
        labels = LabelVolume(truth_ZHW.astype(np.uint8), SPACING)
        masks = [hand(labels, Draw(seed, rater, place, place)) for rater in range(raters)]
        found.append(Outlined(f"object-{place}", np.stack(masks), SPACING))
    return found


def save(path, mask_ZHW, spacing_3=SPACING):
    """Write a mask whose slices are axial as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    between, row, column = spacing_3
    # Rows run to the back and columns to the left, as in the project's slices.
    affine = np.diag([-column, -row, between, 1.0])
    array_XYZ = np.asarray(mask_ZHW).transpose(2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(array_XYZ.astype(np.uint8), affine), path)
