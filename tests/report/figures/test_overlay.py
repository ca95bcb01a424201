"""Masks over images: coloured by their errors, cropped to the reference."""

import numpy as np
from matplotlib.colors import to_hex, to_rgba

from labelnoise.report import style
from labelnoise.report.figures.overlay import colour_errors, crop_window


def test_errors_are_coloured_by_what_they_are():
    reference = np.array([[1, 1, 0, 0]])
    mask = np.array([[1, 0, 1, 0]])
    agreed, missed, added, neither = colour_errors(reference, mask)[0]
    assert to_hex(missed) == style.MISSED.lower()
    assert to_hex(added) == style.ADDED.lower()
    assert agreed[3] == neither[3] == 0
    grey = colour_errors(reference, mask, show_agreement=True)[0, 0]
    assert tuple(grey) == to_rgba(style.AGREED)


def test_crop_is_a_square_around_the_reference_inside_the_slice():
    mask = np.zeros((100, 80), dtype=np.uint8)
    mask[0:20, 70:80] = 1
    rows, columns = crop_window(mask, 0.5)
    assert (rows, columns) == (slice(0, 40), slice(40, 80))
    assert mask[rows, columns].sum() == mask.sum()
    assert crop_window(mask, None) == (slice(None), slice(None))
    assert crop_window(mask * 0, 0.5) == (slice(None), slice(None))
    mask[:] = 1
    assert mask[crop_window(mask, 0.5)].shape == (100, 80)
