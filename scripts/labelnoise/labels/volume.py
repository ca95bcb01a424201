"""Binary masks of consecutive slices in mm: objects, and how far every voxel is from the outline.

Kinds of label error that people make belong to whole objects and to mm, not to pixels of a slice.
Shape legend: Z consecutive slices of one case, H height, W width, n slices asked for, O objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np

from labelnoise.labels.contours import bounding_box
from labelnoise.labels.distances import to_other_side

SMOOTHED = 1.0  # pixels, standard deviation that brings distances between pixel centres below them
SUPPORT = 4  # pixels, that its weights reach
# Pixels to add to a reach: distances there pass through `sub_pixel`, which moves them by up to half
# a pixel and looks at others SUPPORT pixels away along both axes.
MARGIN = SUPPORT * 2**0.5 + 1

# Box of a volume: ranges of slices, rows and columns.
Box = tuple[slice, slice, slice]


class Objects(NamedTuple):
    """Connected components of a volume; voxels that touch at a corner are connected.

    labels_ZHW: int32, 0 outside, o + 1 in object o.
    radius_O: mm, of the ball (of one slice: the disc) of the same size.
    """

    labels_ZHW: np.ndarray
    radius_O: np.ndarray


class Volume:
    """A binary mask of consecutive slices of one case; of one slice where nothing joins them.

    Attributes:
        mask_ZHW: bool; not to be changed.
        spacing_3: distance of slices, rows and columns in mm; that of slices may be NaN for one
            slice, where it is unknown.
    """

    def __init__(self, mask_ZHW: np.ndarray, spacing_3: Sequence[float]):
        self.mask_ZHW = np.asarray(mask_ZHW).astype(bool, copy=False)
        self.spacing_3 = tuple(float(length) for length in spacing_3)
        self._reach = -1.0
        self._near: tuple[Box, np.ndarray, np.ndarray] | None = None
        self._smooth: np.ndarray | None = None
        self._squeezed: tuple[float, Volume] | None = None

    def __len__(self) -> int:
        return len(self.mask_ZHW)

    @cached_property
    def box(self) -> Box | None:
        """The smallest box around the foreground; None if there is none."""
        filled_Z = np.flatnonzero(np.any(self.mask_ZHW, axis=(1, 2)))
        if not len(filled_Z):
            return None
        slices = slice(int(filled_Z[0]), int(filled_Z[-1]) + 1)
        return slices, *bounding_box(np.any(self.mask_ZHW[slices], axis=0))

    @cached_property
    def objects(self) -> Objects:
        """The connected components, in reading order."""
        labels_ZHW, voxels_O = self._components
        between, row, column = self.spacing_3
        if len(self) == 1:
            radius_O = np.sqrt(voxels_O * row * column / np.pi)
        else:
            radius_O = np.cbrt(voxels_O * between * row * column * 3 / (4 * np.pi))
        return Objects(labels_ZHW, radius_O)

    @cached_property
    def _components(self):
        """The labels of the connected components and their numbers of voxels (O)."""
        from scipy import ndimage  # here, since every training and test imports this module

        labels_ZHW = np.zeros(self.mask_ZHW.shape, np.int32)
        if self.box is None:
            return labels_ZHW, np.zeros(0)
        labels = labels_ZHW[self.box]
        ndimage.label(self.mask_ZHW[self.box], np.ones((3, 3, 3), bool), labels)
        return labels_ZHW, np.bincount(labels.ravel())[1:]

    @cached_property
    def object_boxes(self) -> list[Box]:
        """The smallest box around each of the objects (O)."""
        from scipy import ndimage

        return ndimage.find_objects(self.objects.labels_ZHW)

    def squeezed(self, factor: float) -> "Volume":
        """Return the same mask with slices so many times as near to each other."""
        if factor == 1 or len(self) == 1:
            return self
        if self._squeezed is None or self._squeezed[0] != factor:
            between, row, column = self.spacing_3
            squeezed = Volume(self.mask_ZHW, (between / factor, row, column))
            squeezed._components = self._components
            self._squeezed = factor, squeezed
        return self._squeezed[1]

    def grown_box(self, reach: float) -> Box:
        """Return the box around the foreground and what lies within `reach` mm of it.

        Raises:
            ValueError: there is no foreground.
        """
        if self.box is None:
            raise ValueError("a volume without foreground has no box")
        slices, rows, columns = (
            slice(max(side.start - margin, 0), min(side.stop + margin, size))
            for side, size, margin in zip(
                self.box, self.mask_ZHW.shape, self._voxels(reach), strict=True
            )
        )
        return slices, rows, columns

    def signed_distance(self, reach: float) -> tuple[Box, np.ndarray]:
        """Return the distance of every voxel centre from the outline, negative inside.

        The outline runs half way to the closest neighbours, in most data half a pixel outside the
        last foreground centres. Distances are Euclidean, in 3-D where there are several slices. The
        slice's edge is no outline: what lies beyond it is unknown. What was computed for a larger
        reach is used again.

        Args:
            reach: mm on both sides of the outline in which distances are wanted, at least 0.

        Returns:
            (grown_box(reach), mm of the voxels in it, float32); of what is further away than
            `reach`, something more than that; -inf everywhere without background.

        Raises:
            ValueError: there is no foreground.
        """
        box, distance, _ = self._within(reach)
        return box, distance

    def sub_pixel_distance(self, reach: float) -> tuple[Box, np.ndarray]:
        """Return the signed distance through `sub_pixel`.

        What is less than SUPPORT pixels from the sides of the box depends on where they are, and
        what is less than MARGIN pixels within the reach, or beyond it, on the reach.

        Returns:
            As `signed_distance`.
        """
        box, *_ = self._within(reach)
        assert self._near is not None
        around, distance_ZHW, _ = self._near
        if self._smooth is None:
            plane = self.spacing_3[1:]
            self._smooth = np.stack([sub_pixel(each_HW, plane) for each_HW in distance_ZHW])
        return box, self._smooth[_relative(box, around)]

    def nearest_object(self, reach: float) -> np.ndarray:
        """Return which object is nearest to each voxel of grown_box(reach), int32 from 0.

        Of what is further from all of them than `reach` it may be another.

        Raises:
            ValueError: there is no foreground.
        """
        return self._within(reach)[2]

    def _within(self, reach):
        """Return box, signed distance and nearest object, from those of the largest reach yet."""
        box = self.grown_box(reach)
        if self._near is None or reach > self._reach:
            self._reach, self._near = reach, (box, *self._measure(box, reach))
            self._smooth = None
        inner = _relative(box, self._near[0])
        return box, self._near[1][inner], self._near[2][inner]

    def _measure(self, box, reach):
        mask = self.mask_ZHW[box]
        if mask.all():  # the whole volume is foreground
            return np.full(mask.shape, -np.inf, np.float32), np.zeros(mask.shape, np.int32)
        spacing_3 = [1.0 if np.isnan(length) else length for length in self.spacing_3]
        # Of the closest neighbours, or those in another slice might count as inside.
        side = min(self.spacing_3 if len(self) > 1 else self.spacing_3[1:])
        labels = self.objects.labels_ZHW[box]
        distance, nearest = to_other_side(
            labels, len(self.objects.radius_O), spacing_3, reach + side
        )
        distance -= np.float32(side / 2)
        distance = np.where(mask, -distance, distance)
        if len(self.objects.radius_O) == 1:
            return distance, np.zeros(mask.shape, np.int32)
        return distance, np.where(mask, labels, nearest) - 1

    def _voxels(self, reach):
        """Return how many voxels a reach in mm is along each axis."""
        lengths = [np.inf if np.isnan(length) else length for length in self.spacing_3]
        return [
            int(np.ceil(reach / length)) + 1 if np.isfinite(length) else 0 for length in lengths
        ]


def _relative(box, outer):
    """Return a box in the coordinates of one around it."""
    return tuple(
        slice(side.start - around.start, side.stop - around.start)
        for side, around in zip(box, outer, strict=True)
    )


def sub_pixel(distance_HW: np.ndarray, spacing_2: Sequence[float]) -> np.ndarray:
    """Return signed distances that take all values near the outline, not only those of the grid.

    A mask tells where the outline runs to half a pixel, and distances between pixel centres come
    in steps: an outline that moves by 0.4 px would not move at all, and by 0.5 px all at once. The
    outline is taken to be smooth: distances are averaged in the plane, by a Gaussian g of 1 px in
    the combination 2 g - g * g, which leaves parabolas as they are (g alone makes small discs
    smaller, one of 6 px radius by 0.09 px), and stay within half a pixel of what they were. No
    pixel changes sides. Of discs of 6 px radius or more the root mean square of the error falls
    from 0.24 to 0.19 px.

    Args:
        distance_HW: see `Volume.signed_distance`, mm; -inf stays as it is.
        spacing_2: distance of rows and of columns in mm.

    Returns:
        mm, float32.
    """
    from scipy import ndimage  # here, since every training and test imports this module

    if np.isneginf(distance_HW).any():
        return distance_HW
    weights = _weights()
    smooth_HW = ndimage.correlate1d(distance_HW, weights, 0, mode="nearest")
    smooth_HW = ndimage.correlate1d(smooth_HW, weights, 1, mode="nearest")
    # A little less than the distance itself, for pixels to stay on their side.
    room_HW = np.float32(0.98) * np.minimum(np.abs(distance_HW), np.float32(min(spacing_2) / 2))
    return np.clip(smooth_HW, distance_HW - room_HW, distance_HW + room_HW)


@cache
def _weights():
    """Return the weights of `sub_pixel` along an axis."""
    away = np.arange(-2 * SUPPORT, 2 * SUPPORT + 1)
    gaussian = np.exp(-((away / SMOOTHED) ** 2) / 2)
    gaussian /= gaussian.sum()
    weights = 2 * gaussian - np.convolve(gaussian, gaussian, "same")
    kept = weights[SUPPORT:-SUPPORT]
    return kept / kept.sum()


class LabelVolume:
    """Labels of consecutive slices of one case, as binary volumes.

    Attributes:
        labels_ZHW: class indices, uint8, 0 = background; not to be changed.
        spacing_3: as that of Volume.
        images_ZHW: the images, any float, as pictures show them; None where labels come alone.
    """

    def __init__(
        self,
        labels_ZHW: np.ndarray,
        spacing_3: Sequence[float],
        images_ZHW: np.ndarray | None = None,
    ):
        self.labels_ZHW, self.spacing_3, self.images_ZHW = labels_ZHW, spacing_3, images_ZHW
        self._structures: dict[int, Volume] = {}
        self._unions: dict[int, Volume] = {}
        self._rims: dict[tuple[int, bool], _Rim] = {}

    def __len__(self) -> int:
        return len(self.labels_ZHW)

    def structure(self, index: int) -> Volume:
        """Return where the labels are one class index."""
        if index not in self._structures:
            self._structures[index] = Volume(self.labels_ZHW == index, self.spacing_3)
        return self._structures[index]

    def union(self, index: int) -> Volume:
        """Return where the labels are a class index or a higher one.

        These volumes are nested, the highest index in the middle. Where one error moves all of
        their outlines alike and each pixel goes to the highest index that claims it, no gap opens
        between structures that touch, and no pixel is claimed twice.
        """
        if index not in self._unions:
            self._unions[index] = Volume(self.labels_ZHW >= index, self.spacing_3)
        return self._unions[index]

    def own(
        self, index: int, claimed_nHW: np.ndarray, wanted: Sequence[int] | np.ndarray
    ) -> np.ndarray:
        """Return which voxels of the moved `union(index)` the structure itself reached.

        Where the higher structures in the union are not enclosed by this one, their own error is
        what moves their outline; if it moves less than that of the union, what lies between is of
        neither. So a voxel outside the union counts where the nearest voxel of the union is of this
        structure, and one that a higher structure gave up where the nearest of what is not higher
        is.

        Args:
            index: class index.
            claimed_nHW: bool, where the moved union is and no higher structure.
            wanted: positions of the n slices.

        Returns:
            (n, H, W) bool.
        """
        if self.union(index + 1).box is None:
            return claimed_nHW
        reference_nHW, slices_n = self.labels_ZHW[list(wanted)], np.asarray(wanted)
        own_nHW = claimed_nHW & (reference_nHW == index)
        for is_inside, among_nHW in ((False, reference_nHW < index), (True, reference_nHW > index)):
            at = np.nonzero(claimed_nHW & among_nHW)
            voxels_V3 = np.column_stack([slices_n[at[0]], *at[1:]])
            own_nHW[at] = self._rim(index, is_inside).nearest_class(voxels_V3) == index
        return own_nHW

    def _rim(self, index, is_inside):
        """Return the rim of the union, or for voxels inside of what is higher, that around it."""
        if (index, is_inside) not in self._rims:
            union = self.union(index + 1 if is_inside else index)
            self._rims[index, is_inside] = _Rim(self, union, not is_inside)
        return self._rims[index, is_inside]


class _Rim:
    """The voxels of a union that touch others, or those others, and their classes."""

    def __init__(self, volume: LabelVolume, union: Volume, is_of_union: bool):
        from scipy import ndimage  # here, since every training and test imports this module
        from scipy.spatial import KDTree

        box = union.grown_box(0.0)
        mask = union.mask_ZHW[box]
        rim = ~mask & ndimage.binary_dilation(mask)
        if is_of_union:
            # What lies beyond the box is no foreground, and beyond the volume nothing.
            rim = mask & ndimage.binary_dilation(~mask)
        self._scale_3 = [1.0 if np.isnan(length) else length for length in volume.spacing_3]
        self._class_R = volume.labels_ZHW[box][rim]
        corner_3 = [side.start for side in box]
        self._tree = KDTree((np.argwhere(rim) + corner_3) * self._scale_3) if rim.any() else None

    def nearest_class(self, voxels_V3: np.ndarray) -> np.ndarray:
        """Return the class index of the nearest voxel of the rim, (V,); 0 without a rim."""
        if self._tree is None:
            return np.zeros(len(voxels_V3), np.uint8)
        _, nearest_V = self._tree.query(voxels_V3 * self._scale_3)
        return self._class_R[nearest_V]


@dataclass(frozen=True)
class Draw:
    """One realisation of an error on one volume: where its random numbers come from.

    Every stream depends on its key alone, so that any slice of any draw can be made without the
    others, and all structures of a volume see the same numbers.

    Attributes:
        seed: the label seed, an integer of at least 0.
        number: index of the draw, from 0.
        volume: a number of the volume in its dataset: the row of its first slice.
        case: a number of its case: the row of the case's first slice.
    """

    seed: int
    number: int
    volume: int
    case: int

    def of_volume(self, purpose: int = 0) -> np.random.Generator:
        """Return the generator of what is drawn once for the volume, for each purpose another."""
        return self._generator(1, self.volume, purpose)

    def of_case(self, purpose: int = 0) -> np.random.Generator:
        """Return the generator of what is drawn once for the case."""
        return self._generator(2, self.case, purpose)

    def of_slice(self, position: int, purpose: int = 0) -> np.random.Generator:
        """Return the generator of a slice of the volume; positions may lie outside it."""
        return self._generator(3, self.volume, purpose, position + 2**31)

    def _generator(self, *words):
        # Five words and more: none is that of a slice alone, see `draw_labels`.
        key = [int(word) for word in (self.seed, self.number, *words)]
        return np.random.default_rng(np.random.SeedSequence(key))
