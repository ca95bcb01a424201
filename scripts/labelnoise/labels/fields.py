"""Stationary Gaussian random fields on volumes, any slice alone.

Shape legend: Z slices of a volume, n slices asked for, H height, W width, h and w those of a box.

White noise of a slice, filtered by a kernel: the process convolution of Higdon, "Space and
space-time modeling using process convolutions", 2002. Noise lies on a grid that belongs to the
slice, so that whatever is drawn on the same slices sees the same field.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import ceil

import numpy as np

from labelnoise.labels.volume import Box, Draw, Volume

# Correlation in the plane and weight across slices at which the kernel ends; correlations are right
# to .01 and .03.
LEAST_CORRELATION = 0.05
LEAST_WEIGHT = 0.1

# Noise is the sum of four bytes: twice as fast as normal numbers, and any row can be had alone. Its
# excess kurtosis is -0.3, that of the field nearer to 0 the more pixels a length is.
NOISE_MEAN = 510
NOISE_SD = np.sqrt(4 * (256**2 - 1) / 12)


def random_field(
    volume: Volume,
    draw: Draw,
    wanted: Sequence[int],
    box: Box,
    *,
    length: float,
    length_z: float,
    smoothness: float,
) -> Iterator[np.ndarray]:
    """Yield, slice after slice, a field of mean 0 and standard deviation 1 in a box of the plane.

    The correlation of two voxels is exp(-(d / length)^smoothness) at distance d mm in the plane,
    times exp(-dz / length_z) at distance dz mm across slices. At a voxel the field is the same, to
    rounding, whatever the box and the other slices that are wanted. A slice's noise wraps around
    after one and a half times its size, or 64 pixels more than it where that is longer.

    Args:
        volume: whose grid the field lies on; the mask plays no part.
        draw: source of the noise, a generator a slice.
        wanted: positions of slices in the volume.
        box: whose rows and columns the field is wanted for; slices are not looked at.
        length: mm, above 0.
        length_z: mm, at least 0; 0 makes slices independent.
        smoothness: above 0, at most 2; 1 is the exponential covariance.

    Yields:
        (h, w) float32, one for each wanted position.
    """
    # Here, since every training and test imports this module.
    from scipy.fft import fft, irfft2, next_fast_len, rfft, rfft2

    shape_HW = volume.mask_ZHW.shape[1:]
    between, *pixel_2 = volume.spacing_3
    reach = length * (-np.log(LEAST_CORRELATION)) ** (1 / smoothness)
    # A kernel longer than the noise would count some of it twice.
    reach_2 = tuple(
        int(min(ceil(reach / side), (period - 1) // 2))
        for side, period in zip(pixel_2, _periods(shape_HW), strict=True)
    )
    # A slice alone has no neighbours to be like.
    weights = _weights(between if len(volume) > 1 else np.nan, length_z)
    size_2 = [side.stop - side.start for side in box[1:]]
    padded_2 = tuple(
        next_fast_len(size + 2 * reach, real=True)
        for size, reach in zip(size_2, reach_2, strict=True)
    )
    # As rfft2 does, but for the rows of zeros below the kernel.
    rows = rfft(_kernel(reach_2, tuple(pixel_2), length, smoothness), padded_2[1])
    kernel = fft(rows, padded_2[0], axis=0)
    noises: dict[int, np.ndarray] = {}
    for position in wanted:
        needed = [position - step for step in range(len(weights))]
        noises = {
            each: noises[each] if each in noises else _noise(draw, each, shape_HW, box, reach_2)
            for each in needed
        }
        mixed = noises[position] * weights[0]
        for each, weight in zip(needed[1:], weights[1:], strict=True):
            mixed += noises[each] * weight
        field = irfft2(rfft2(mixed, padded_2) * kernel, padded_2)
        yield field[2 * reach_2[0] :, 2 * reach_2[1] :][: size_2[0], : size_2[1]]


def _periods(shape_HW):
    """Return after how many pixels the noise of a slice wraps around."""
    height, width = (size + max(size // 2, 64) for size in shape_HW)
    return height, width


def _weights(between, length_z):
    """Return the weights of a slice's noise and that of the slices before it, float32.

    Those of an autoregressive process of first order, which ends and has variance 1.
    """
    same = np.exp(-between / length_z) if length_z > 0 and np.isfinite(between) else 0.0
    steps = ceil(np.log(LEAST_WEIGHT) / np.log(same)) if 0 < same < 1 else 0
    weights = same ** np.arange(min(steps, 200) + 1)
    return (weights / np.sqrt((weights**2).sum())).astype(np.float32)


@lru_cache(maxsize=8)
def _kernel(reach_2, pixel_2, length, smoothness):
    """Return the kernel that makes the covariance of white noise of four bytes.

    Args:
        reach_2: pixels from the kernel's centre to its ends.
        pixel_2: mm between rows and columns.
        length: mm.
        smoothness: exponent of the distance.

    Returns:
        float32, (rows, columns), 2 reach + 1 of each.
    """
    from scipy.fft import irfft2, next_fast_len, rfft2

    # The covariance of a torus wide enough that its two ends hardly meet.
    wide_2 = [next_fast_len(4 * reach + 1, real=True) for reach in reach_2]
    mm = [
        np.minimum(np.arange(wide), wide - np.arange(wide)) * side
        for wide, side in zip(wide_2, pixel_2, strict=True)
    ]
    covariance = np.exp(-((np.hypot(mm[0][:, None], mm[1]) / length) ** smoothness))
    power = np.maximum(rfft2(covariance).real, 0)
    wide = np.roll(irfft2(np.sqrt(power), wide_2), reach_2, (0, 1))
    kernel = wide[: 2 * reach_2[0] + 1, : 2 * reach_2[1] + 1]
    return (kernel / (np.sqrt((kernel**2).sum()) * NOISE_SD)).astype(np.float32)


def _noise(draw, position, shape_HW, box, reach_2):
    """Return the white noise of a slice in a box and the kernel's reach around it, float32.

    Rows and columns outside the slice are those of its grid, which wraps around.
    """
    height, width = _periods(shape_HW)
    words = (width + 1) // 2  # of 64 bits a row, two pixels each
    rows, columns = (
        np.arange(side.start - reach, side.stop + reach)
        for side, reach in zip(box[1:], reach_2, strict=True)
    )
    parts = []
    start = rows[0] % height
    left = len(rows)
    while left:
        generator = draw.of_slice(position)
        generator.bit_generator.advance(int(start) * words)
        number = min(left, height - start)
        drawn = generator.integers(0, 2**64, (number, words), np.uint64).view(np.uint32)
        parts.append(drawn.take(columns % width, axis=1))
        left, start = left - number, 0
    bytes_4 = np.concatenate(parts) if len(parts) > 1 else parts[0]
    pairs = (bytes_4 & 0x00FF00FF) + ((bytes_4 >> 8) & 0x00FF00FF)
    return ((pairs & 0xFFFF) + (pairs >> 16)).astype(np.float32) - np.float32(NOISE_MEAN)
