"""Label errors of whole objects: omission and spurious.

Each is a function of the labels of a volume, {class index: severity}, where random numbers come
from and the slices asked for. Any slice alone is what it is among others, severity 0 is the
identity, and the input is never changed. Objects are the connected components of one structure: in
3-D where there are several slices, in the plane of a single one.

Shape legend: Z slices of a volume, n slices asked for, H height, W width, O objects, T tries, S
sampled voxels of an object.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from labelnoise.errors import InputError
from labelnoise.labels.volume import Box, Draw, LabelVolume, Volume

TRIES = 200  # places that are tried for a copy
SAMPLED = 64  # voxels that are looked at before all of a copy is


def omission(
    volume: LabelVolume,
    severities: Mapping[int, float],
    draw: Draw,
    wanted: Sequence[int],
    *,
    of: str,
    size_exponent: float,
    radius: float,
) -> np.ndarray:
    """Leave out objects, or all labels of a case, as what is overlooked.

    An object of radius r (that of the ball, in one slice of the disc, of its size) is left out with
    probability 1 - (1 - severity) ^ ((radius / r) ^ size_exponent). What was left out at a severity
    is at any larger one. Its voxels go to the class that holds most of the area around it: those of
    a lesion to the organ, those of an organ to the background. Objects that touch and are both left
    out count as one.

    Args:
        volume: the labels.
        severities: the probability of an object of that radius, or of a case, in [0, 1].
        draw: whose volume decides on objects, whose case on cases.
        wanted: positions of slices in the volume.
        of: "objects", or "cases" to leave out all structures together, whatever their size.
        size_exponent: at least 0; above it, small objects are overlooked more often than large
            ones.
        radius: mm, of the objects that severity is the probability of.

    Returns:
        class indices (n, H, W), uint8: the slices asked for.
    """
    labels_ZHW, wanted = volume.labels_ZHW, list(wanted)
    kept_nHW = labels_ZHW[wanted]
    omitted_ZHW = np.zeros(labels_ZHW.shape, bool)
    for index, severity in severities.items():
        if severity == 0 or volume.structure(index).box is None:
            continue
        if of == "cases":
            if draw.of_case().random() < severity:
                omitted_ZHW |= volume.structure(index).mask_ZHW
            continue
        objects = volume.structure(index).objects
        chance_O = 1 - (1 - severity) ** ((radius / objects.radius_O) ** size_exponent)
        is_omitted_O = draw.of_volume(index).random(len(chance_O)) < chance_O
        omitted_ZHW |= np.append(False, is_omitted_O)[objects.labels_ZHW]
    if not omitted_ZHW[wanted].any():
        return kept_nHW
    omitted = Volume(omitted_ZHW, volume.spacing_3)
    for number, box in enumerate(omitted.object_boxes, start=1):
        inside = [at for at, each in enumerate(wanted) if box[0].start <= each < box[0].stop]
        if inside:
            around = surrounding_class(volume, omitted, number)
            for at in inside:
                is_omitted_HW = omitted.objects.labels_ZHW[wanted[at]][box[1:]] == number
                np.putmask(kept_nHW[at][box[1:]], is_omitted_HW, around)
    return kept_nHW


def surrounding_class(volume: LabelVolume, objects: Volume, number: int) -> int:
    """Return the class index that holds most of the surface of an object of the labels' volume.

    Args:
        volume: the labels.
        objects: a volume of the same shape.
        number: of its objects, from 1.

    Returns:
        the lowest class index of several with as much; 0 where the object fills the volume.
    """
    box = _grown(objects.object_boxes[number - 1], volume.labels_ZHW.shape)
    labels, inside = volume.labels_ZHW[box], objects.objects.labels_ZHW[box] == number
    lengths = [1.0 if np.isnan(length) else length for length in volume.spacing_3]
    area_C = np.zeros(256)
    for axis, length in enumerate(lengths):
        before = (slice(None),) * axis + (slice(None, -1),)
        behind = (slice(None),) * axis + (slice(1, None),)
        faces = np.concatenate(
            [
                labels[behind][inside[before] & ~inside[behind]],
                labels[before][inside[behind] & ~inside[before]],
            ]
        )
        area_C += np.bincount(faces, minlength=256) * np.prod(lengths) / length
    return int(area_C.argmax())


def _grown(box, shape):
    """Return the box and what lies next to it in a volume of this shape."""
    return tuple(
        slice(max(side.start - 1, 0), min(side.stop + 1, size))
        for side, size in zip(box, shape, strict=True)
    )


def spurious(
    volume: LabelVolume,
    severities: Mapping[int, float],
    draw: Draw,
    wanted: Sequence[int],
    *,
    where: str,
) -> np.ndarray:
    """Add copies of objects elsewhere in their volume, as what is taken for one.

    Each object has Poisson(severity) copies, those of a smaller severity among them. A copy is
    mirrored along each axis by chance and shifted to anywhere in the volume where it fits and where
    it and all voxels that touch it are of the class that surrounds the object: background, or the
    organ that a lesion lies in. Copies may overlap each other; the highest class index holds. After
    200 places without success the object gets no more copies: large ones may have none.

    Args:
        volume: the labels, with images for `where` "intensity".
        severities: mean number of copies of an object, at least 0.
        draw: whose volume decides.
        wanted: positions of slices in the volume.
        where: "anywhere", or "intensity" for places whose mean in the image is within a standard
            deviation from that of the object; the standard deviation is that of the structure's
            voxels in the volume.

    Returns:
        class indices (n, H, W), uint8: the slices asked for.

    Raises:
        InputError: `where` is "intensity" and there are no images.
    """
    if where == "intensity" and volume.images_ZHW is None:
        raise InputError(
            "spurious: `where: intensity` needs images, and these labels come without; choose "
            "`where: anywhere`, or give images."
        )
    wanted = list(wanted)
    drawn_nHW = volume.labels_ZHW[wanted]
    for index in sorted(severities):
        structure = volume.structure(index)
        if severities[index] == 0 or structure.box is None:
            continue
        sd = None
        if volume.images_ZHW is not None and where == "intensity":
            sd = volume.images_ZHW[structure.mask_ZHW].std()
        sources = draw.of_volume(index).spawn(len(structure.object_boxes))
        for number, source in enumerate(sources, start=1):
            for box, copy in _copies(volume, index, number, severities[index], source, sd):
                for drawn_HW, position in zip(drawn_nHW, wanted, strict=True):
                    if box[0].start <= position < box[0].stop:
                        np.putmask(drawn_HW[box[1:]], copy[position - box[0].start], index)
    return drawn_nHW


def _copies(volume, index, number, severity, rng, sd) -> Iterator[tuple[Box, np.ndarray]]:
    """Yield where copies of an object are in the volume, and their masks in these boxes."""
    # Arrivals of a Poisson process: a larger severity has those of a smaller one, and more.
    arrival = rng.exponential()
    if arrival > severity:
        return
    original = _Original(volume, index, number, sd)
    while arrival <= severity:
        place = original.place(rng)
        if place is None:
            return
        yield place
        arrival += rng.exponential()


class _Original:
    """An object, and where copies of it may be; in the image too if `sd` is a number."""

    def __init__(self, volume, index, number, sd):
        structure = volume.structure(index)
        self.box, self.volume, self.sd = structure.object_boxes[number - 1], volume, sd
        self.mask = structure.objects.labels_ZHW[self.box] == number
        self.touched = _touched(self.mask)
        self.around = surrounding_class(volume, structure, number)
        voxels = np.argwhere(self.mask)
        self.voxels_S3 = voxels[:: -(-len(voxels) // SAMPLED)]

    def place(self, rng):
        """Return the box and the mask of a copy; None if no place was found."""
        size_3, labels_ZHW = np.array(self.mask.shape), self.volume.labels_ZHW
        # All numbers are drawn at once: which places are tried depends on no earlier success.
        corner_T3 = rng.integers(0, labels_ZHW.shape - size_3 + 1, (TRIES, 3))
        mirrored_T3 = rng.random((TRIES, 3)) < 0.5
        voxels_TS3 = np.where(mirrored_T3[:, None], size_3 - 1 - self.voxels_S3, self.voxels_S3)
        labels_TS = labels_ZHW[tuple(np.moveaxis(corner_T3[:, None] + voxels_TS3, 2, 0))]
        for at in np.flatnonzero((labels_TS == self.around).all(axis=1)):
            mirror = tuple(slice(None, None, -1 if each else 1) for each in mirrored_T3[at])
            box = tuple(
                slice(low, low + size) for low, size in zip(corner_T3[at], size_3, strict=True)
            )
            if self._is_free(box, self.touched[mirror]) and self._is_alike(box, self.mask[mirror]):
                return box, self.mask[mirror]
        return None

    def _is_free(self, box, touched):
        around = _grown(box, self.volume.labels_ZHW.shape)
        # What reaches beyond the volume is cut off.
        inner = tuple(
            slice(outer.start - side.start + 1, outer.stop - side.start + 1)
            for outer, side in zip(around, box, strict=True)
        )
        return (self.volume.labels_ZHW[around][touched[inner]] == self.around).all()

    def _is_alike(self, box, copy):
        if self.sd is None:
            return True
        images_ZHW = self.volume.images_ZHW
        mean = images_ZHW[self.box][self.mask].mean()
        return abs(images_ZHW[box][copy].mean() - mean) <= self.sd


def _touched(mask):
    """Return a mask and all voxels that touch it, in its box grown by one on each side."""
    from scipy import ndimage  # here, since every training and test imports this module

    return ndimage.binary_dilation(np.pad(mask, 1), np.ones((3, 3, 3), bool))
