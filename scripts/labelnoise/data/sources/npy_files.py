""".npy files as `numpy.save` writes them: opened without reading them, never unpickled."""

from pathlib import Path

import numpy as np

from labelnoise.errors import InputError, reason


def open_npy(path: Path) -> np.ndarray:
    """Return the array of a file, which stays on the disk until its numbers are used.

    Raises:
        InputError: the file is no whole array of real numbers.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            raise ValueError("it holds no plain numbers")
    # NumPy fails in too many ways on a file that is truncated, pickled or something else.
    except Exception as error:
        raise InputError(
            f"{path} cannot be read ({reason(error)}), expected one whole .npy array of numbers; "
            "copy or save it again with numpy.save."
        ) from None
    return array
