"""Red, green and blue as one grey, by ITU-R 601."""

import numpy as np


def luminance(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> np.ndarray:
    """Return L = 0.299 R + 0.587 G + 0.114 B, of arrays of any one shape."""
    return 0.299 * red + 0.587 * green + 0.114 * blue
