"""NIfTI files for tests, written by SimpleITK, which shares no code with the reader.

SimpleITK's world axes point left, posterior and superior, so an image that lies along them, as
array (z, y, x), is by definition in the orientation of the project's slices (S, H, W).
"""

import numpy as np
import SimpleITK as sitk

from labelnoise.data.sources.volumes import slices_of

SPACING = (2.5, 0.8, 0.7)
# Slices of 3 x 4 pixels, from inferior to superior. No two corners are alike, so the label differs
# from each of its mirror images and transposes.
LABEL = np.array(
    [
        [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]],
        [[1, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]],
    ],
    np.uint8,
)
# Every voxel its own value, so nothing can be swapped unnoticed.
IMAGE = np.arange(-7, 17, dtype=np.int16).reshape(LABEL.shape)


def to_sitk(array_SHW, spacing=SPACING, origin=(-30.0, -20.0, 100.0), direction=None):
    """An image along left, posterior, superior; or with its axes turned by `direction` (3 x 3)."""
    image = sitk.GetImageFromArray(array_SHW)
    image.SetSpacing(spacing[::-1])
    image.SetOrigin(origin)
    if direction is not None:
        image.SetDirection(np.asarray(direction, float).ravel().tolist())
    return image


def tilt(degrees, axis):
    """Rotation about a world axis (0 left, 1 posterior, 2 superior)."""
    turn, angle = np.eye(3), np.deg2rad(degrees)
    first, second = (index for index in range(3) if index != axis)
    turn[[first, second], [first, second]] = np.cos(angle)
    turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
    return turn


def save(path, image, **kwargs):
    """Write an array (S, H, W) or a SimpleITK image; the suffix says whether it is gzipped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = image if isinstance(image, sitk.Image) else to_sitk(image, **kwargs)
    sitk.WriteImage(image, str(path))
    return path


def assert_is(volume, array_SHW, spacing=SPACING):
    """A volume's axial slices and their spacing are these."""
    slices, found = slices_of(volume)
    np.testing.assert_array_equal(slices, array_SHW)
    np.testing.assert_allclose(found, spacing, rtol=1e-6)
