"""Intensities as they are stored: windows."""

import numpy as np

from labelnoise.data.intensity import apply_window


def test_window_ends_map_to_minus_1_and_1():
    values = np.array([-2000, -128, -64, 0, 64, 128, 3000], np.int16)
    windowed = apply_window(values, (-128, 128))
    np.testing.assert_array_equal(windowed, np.float32([-1, -1, -0.5, 0, 0.5, 1, 1]))
    assert windowed.dtype == np.float32
