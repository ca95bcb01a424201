"""Windows, padding and resizing: hand-countable examples, and labels that follow their images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelnoise.data.resize import apply_window, pad_to_square, resize_images, resize_labels


def test_window_ends_map_to_minus_1_and_1():
    values = np.array([-2000, -128, -64, 0, 64, 128, 3000], np.int16)
    windowed = apply_window(values, (-128, 128))
    np.testing.assert_array_equal(windowed, np.float32([-1, -1, -0.5, 0, 0.5, 1, 1]))
    assert windowed.dtype == np.float32


def test_padding_by_hand():
    padded = pad_to_square(np.ones((1, 2, 5), np.uint8), 0)
    expected = np.zeros((5, 5), np.uint8)
    expected[1:3] = 1
    np.testing.assert_array_equal(padded[0], expected)
    assert pad_to_square(np.ones((2, 4, 4)), 0).shape == (2, 4, 4)


def test_halving_is_the_mean_of_four():
    image = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    np.testing.assert_array_equal(resize_images(image, 2)[0], [[2.5, 4.5], [10.5, 12.5]])


def test_shrinking_by_a_fraction_weighs_by_area():
    # Three pixels into two: each new one is a whole pixel and half of the middle one.
    image = np.array([[[0, 3, 9]] * 3], np.float32)
    np.testing.assert_allclose(resize_images(image, 2)[0], [[1, 7], [1, 7]], rtol=1e-6)


def test_growing_is_linear():
    image = np.array([[[0, 4], [0, 4]]], np.float32)
    np.testing.assert_allclose(resize_images(image, 4)[0], [[0, 1, 3, 4]] * 4)


@given(st.integers(4, 40), st.integers(1, 40), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_shrinking_keeps_the_mean(old, new, seed):
    image = np.random.default_rng(seed).uniform(-1, 1, (2, old, old)).astype(np.float32)
    size = min(old, new)
    np.testing.assert_allclose(
        resize_images(image, size).mean((1, 2)), image.mean((1, 2)), atol=1e-6
    )


def test_shrinking_does_not_alias():
    stripes = np.tile(np.float32([0, 1]), (1, 64, 32))
    # Taking single pixels would give 0 or 1; a mean over 3.2 pixels is off by 0.125 at most.
    np.testing.assert_allclose(resize_images(stripes, 20), 0.5, atol=0.126)


@pytest.mark.parametrize("size", [20, 33, 64, 100])
def test_labels_keep_their_fractions(size):
    rows, columns = np.indices((64, 64))
    labels = np.zeros((1, 64, 64), np.uint8)
    labels[0][(rows - 30) ** 2 + (columns - 33) ** 2 < 20**2] = 1
    labels[0][(rows - 30) ** 2 + (columns - 33) ** 2 < 10**2] = 2
    resized = resize_labels(labels, size, 3)
    for index in range(3):
        expected = np.mean(labels == index)
        assert np.mean(resized == index) == pytest.approx(expected, abs=0.012)


def test_labels_go_to_the_class_with_most_area():
    labels = np.array([[[0, 1, 1], [2, 2, 1], [2, 0, 0]]], np.uint8)
    # Areas of the only new pixel: three ninths each, so the highest index wins.
    assert resize_labels(labels, 1, 3)[0, 0, 0] == 2
    labels[0, 1, 0] = 1
    assert resize_labels(labels, 1, 3)[0, 0, 0] == 1


@pytest.mark.parametrize("offset", range(4))
def test_thin_line_survives_half_size_wherever_it_lies(offset):
    labels = np.zeros((1, 8, 8), np.uint8)
    labels[0, 2 + offset] = 1
    resized = resize_labels(labels, 4, 2)
    assert resized[0].any(axis=0).all() and resized.sum() == 4


@pytest.mark.parametrize("size", [4, 8, 12])
def test_images_and_labels_stay_aligned(size):
    labels = np.zeros((1, 8, 8), np.uint8)
    labels[0, 2:6, 4:] = 1
    resized = resize_images(labels.astype(np.float32), size)
    np.testing.assert_array_equal(resize_labels(labels, size, 2), resized >= 0.5)


def test_same_size_is_the_identity():
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (2, 9, 9)).astype(np.float32)
    labels = rng.integers(0, 4, (2, 9, 9)).astype(np.uint8)
    np.testing.assert_array_equal(resize_images(image, 9), image)
    np.testing.assert_array_equal(resize_labels(labels, 9, 4), labels)
