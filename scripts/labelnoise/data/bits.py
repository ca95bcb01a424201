"""Class indices of pixels as bits, which take less time to store and to read than bytes.

Shape legend: n slices, P planes of bits, H height, W width, B bytes of a row.
"""

import numpy as np


def planes_of(classes: int) -> int:
    """Return how many bits class indices take, where there are so many, background among them."""
    return max(1, (classes - 1).bit_length())


def pack(labels_nHW: np.ndarray, planes: int) -> np.ndarray:
    """Return class indices as packed bits.

    Args:
        labels_nHW: class indices, uint8.
        planes: bits of each.

    Returns:
        (n, P, H, B) uint8. Plane p holds bit p of each index, bit 0 the lowest; a byte holds eight
        pixels of a row, the left one in its highest bit, and pixels beyond the row are 0.

    Raises:
        ValueError: an index has more bits.
    """
    if (highest := int(labels_nHW.max(initial=0))) >> planes:
        raise ValueError(f"class index {highest} has more than {planes} bits")
    number, height, width = labels_nHW.shape
    packed_nPHB = np.empty((number, planes, height, -(-width // 8)), np.uint8)
    for labels_HW, packed_PHB in zip(labels_nHW, packed_nPHB, strict=True):
        for plane, packed_HB in enumerate(packed_PHB):
            packed_HB[:] = np.packbits(labels_HW & (1 << plane), axis=-1)
    return packed_nPHB


def unpack(packed_PHB: np.ndarray, width: int) -> np.ndarray:
    """Return the class indices (H, W), uint8, of a slice as `pack` returns it."""
    bits_PHW = np.unpackbits(packed_PHB, axis=-1, count=width)
    labels_HW = bits_PHW[0]
    for plane, bits_HW in enumerate(bits_PHW[1:], start=1):
        labels_HW |= bits_HW << plane
    return labels_HW
