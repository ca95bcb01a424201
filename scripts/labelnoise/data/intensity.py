"""Source intensities (HU for CT) as they are stored."""

import numpy as np


def apply_window(images: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Clip to the window (low, high) in source units and map it to [-1, 1], as float32."""
    low, high = window
    # In place after the first step: a whole scan at 512 x 512 is half a gigabyte.
    scaled = np.subtract(images, low, dtype=np.float32)
    scaled *= 2 / (high - low)
    scaled -= 1
    return np.clip(scaled, -1, 1, out=scaled)
